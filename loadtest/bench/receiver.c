// The receiving half of `make bench`: many Socket.IO clients over raw WebSocket, in one thread.
//
// It connects clients, walks each through a handshake script that Python has prepared, then counts the
// frames that arrive and how late they are. A frame that carries `^` and 16 digits is a message; the
// digits say when it was published, in us of CLOCK_MONOTONIC, which all processes of one machine share.
//
// Usage: receiver ADDRESS PORT WINDOW REQUEST_HEX [EXPECTED_HEX FRAME_HEX]... EXPECTED_HEX
//   WINDOW is the receive buffer in bytes of clients that have little of it, behind Ethernet's segments: on the
//   loopback the kernel would otherwise buffer megabytes for a client that does not read. 0 = the kernel's choice.
//   REQUEST is the HTTP upgrade. Then, step by step: once a frame contains EXPECTED, FRAME is sent; the
//   last EXPECTED means that the client is subscribed.
// Commands on stdin, one JSON object on stdout for each:
//   open COUNT IN_FLIGHT   connect COUNT more clients, IN_FLIGHT at a time
//   take                   what arrived since the last `take`
// The end of stdin ends the program. What it cannot do anything about ends it with a message on stderr.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, EVENTS = 512, STEPS_MAX = 8, DIGITS = 16, ETHERNET_MSS = 1448 };
// Latencies are counted in buckets: 64 for each power of two, so that a percentile is exact to 1.6 %.
enum { SUB_BITS = 6, SUB = 1 << SUB_BITS, BUCKETS = SUB * 36 };

typedef struct { char *bytes; size_t length; } Bytes;

typedef struct {
    int fd;
    int step;       // which EXPECTED the client waits for; `steps` once it is subscribed
    int upgraded;   // the HTTP answer is read
    char *rest;     // the beginning of a frame whose end has not arrived, `rest_length` bytes
    size_t rest_length;
} Client;

static struct sockaddr_in server;
static Bytes request, expected[STEPS_MAX], frames[STEPS_MAX];
static int steps, window;
static Client **clients;
static size_t client_count, client_room;
static int epoll;
static char buffer[READ_BYTES * 2];

static size_t opening, opened, failed, to_open;
static uint64_t open_since, open_until;
static uint64_t messages, others, bytes, reads, closed, largest_us, buckets[BUCKETS];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static Bytes from_hex(const char *hex) {
    Bytes result = {malloc(strlen(hex) / 2 + 1), strlen(hex) / 2};
    for (size_t i = 0; i < result.length; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1) die("hex");
        result.bytes[i] = (char)byte;
    }
    return result;
}

static void record(uint64_t latency_us) {
    if (latency_us > largest_us) largest_us = latency_us;
    size_t bucket = latency_us;
    if (latency_us >= SUB) {
        int shift = 63 - __builtin_clzll(latency_us) - SUB_BITS;
        bucket = ((size_t)(shift + 1) << SUB_BITS) + ((latency_us >> shift) & (SUB - 1));
    }
    buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

// The latency below which `share` of all messages lie, in us: the upper end of its bucket.
static uint64_t percentile(double share) {
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += buckets[i];
        if (seen && (double)seen >= share * (double)messages) {
            if (i < SUB) return i;
            int shift = (int)(i >> SUB_BITS) - 1;
            return ((uint64_t)(SUB + (i & (SUB - 1))) + 1) << shift;
        }
    }
    return 0;
}

static void drop(Client *client) {
    if (client->step < steps) failed++, opening--;
    else closed++;
    close(client->fd);
    client->fd = -1;
    free(client->rest);
    client->rest = NULL;
}

static int send_all(Client *client, Bytes what) {
    // Never more than a few hundred bytes: they fit into the socket's buffer, or the server reads nothing.
    return send(client->fd, what.bytes, what.length, MSG_NOSIGNAL) == (ssize_t)what.length;
}

static void connect_one(void) {
    if (client_count == client_room) {
        client_room = client_room ? client_room * 2 : 1024;
        clients = realloc(clients, client_room * sizeof *clients);
        if (!clients) die("memory");
    }
    Client *client = clients[client_count++] = calloc(1, sizeof *client);
    opening++;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0) die("socket");
    int on = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (window) {
        int segment = ETHERNET_MSS;
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
        setsockopt(client->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (connect(client->fd, (struct sockaddr *)&server, sizeof server) || !send_all(client, request)
        || fcntl(client->fd, F_SETFL, O_NONBLOCK) || epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event))
        drop(client);
}

// Take one whole frame; 0 if the client is of no further use.
static int take_frame(Client *client, int opcode, char *body, size_t length, uint64_t now) {
    static const Bytes pong = {"\x81\x81\0\0\0\0" "3", 7};  // Engine.IO answers "2" with "3"; masked with zeros
    if (opcode == 8) return 0;
    if (opcode == 9 || opcode == 10) return 1;
    char *mark = memrchr(body, '^', length);
    if (mark && (size_t)(body + length - mark) > DIGITS) {
        uint64_t sent = 0;
        for (int i = 1; i <= DIGITS; i++) sent = sent * 10 + (uint64_t)(mark[i] - '0');
        messages++;
        record(now > sent ? now - sent : 0);
        return 1;
    }
    if (length == 1 && body[0] == '2') return send_all(client, pong);
    if (client->step == steps || !memmem(body, length, expected[client->step].bytes, expected[client->step].length)) {
        others++;
        return 1;
    }
    if (++client->step < steps) return send_all(client, frames[client->step - 1]);
    opening--;
    opened++;
    open_until = now;
    return 1;
}

// Take the frames in `data`; how many bytes they were, or -1 if the client is of no further use.
static ssize_t take_frames(Client *client, char *data, size_t length, uint64_t now) {
    size_t at = 0;
    while (length - at >= 2) {
        unsigned char *head = (unsigned char *)data + at;
        size_t size = head[1] & 0x7f, header = 2;
        if (head[1] & 0x80) return -1;  // servers do not mask (RFC 6455, 5.1)
        if (size == 126) {
            header = 4;
            if (length - at < header) break;
            size = (size_t)head[2] << 8 | head[3];
        } else if (size == 127) {
            header = 10;
            if (length - at < header) break;
            size = 0;
            for (int i = 2; i < 10; i++) size = size << 8 | head[i];
        }
        if (size > READ_BYTES - header) return -1;
        if (length - at < header + size) break;
        if (!take_frame(client, head[0] & 0x0f, data + at + header, size, now)) return -1;
        at += header + size;
    }
    return (ssize_t)at;
}

static void read_from(Client *client) {
    memcpy(buffer, client->rest, client->rest_length);
    ssize_t got = recv(client->fd, buffer + client->rest_length, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        drop(client);
        return;
    }
    uint64_t now = now_us();
    reads++;
    bytes += (uint64_t)got;
    size_t length = client->rest_length + (size_t)got, start = 0;
    if (!client->upgraded) {
        char *end = memmem(buffer, length, "\r\n\r\n", 4);
        if (end) {
            if (length < 12 || memcmp(buffer + 9, "101", 3)) {
                drop(client);
                return;
            }
            client->upgraded = 1;
            start = (size_t)(end - buffer) + 4;
        }
    }
    ssize_t taken = client->upgraded ? take_frames(client, buffer + start, length - start, now) : 0;
    if (taken < 0) {
        drop(client);
        return;
    }
    size_t used = client->upgraded ? start + (size_t)taken : 0;
    client->rest_length = length - used;
    if (client->rest_length > READ_BYTES) {
        drop(client);
        return;
    }
    if (client->rest_length) {
        client->rest = realloc(client->rest, client->rest_length);
        if (!client->rest) die("memory");
        memcpy(client->rest, buffer + used, client->rest_length);
    }
}

static void answer_open(void) {
    printf("{\"opened\":%zu,\"failed\":%zu,\"seconds\":%.6f}\n", opened, failed, (double)(open_until - open_since) / 1e6);
    fflush(stdout);
}

static void answer_take(void) {
    printf("{\"messages\":%lu,\"others\":%lu,\"bytes\":%lu,\"reads\":%lu,\"closed\":%lu,"
           "\"p50_us\":%lu,\"p99_us\":%lu,\"max_us\":%lu}\n",
           messages, others, bytes, reads, closed, percentile(0.5), percentile(0.99), largest_us);
    fflush(stdout);
    messages = others = bytes = reads = closed = largest_us = 0;
    memset(buckets, 0, sizeof buckets);
}

static void obey(const char *line) {
    size_t count, in_flight;
    if (sscanf(line, "open %zu %zu", &count, &in_flight) == 2) {
        opened = failed = 0;
        open_since = open_until = now_us();
        for (to_open = count; to_open && opening < in_flight; to_open--) connect_one();
        if (!opening) answer_open();
    } else if (!strncmp(line, "take", 4)) {
        answer_take();
    } else {
        fprintf(stderr, "no such command: %s\n", line);
        exit(1);
    }
}

static void read_commands(void) {
    static char line[256];
    static size_t length;
    ssize_t got = read(0, line + length, sizeof line - 1 - length);
    if (got <= 0) exit(0);
    length += (size_t)got;
    line[length] = 0;
    for (char *end; (end = strchr(line, '\n')); ) {
        *end = 0;
        obey(line);
        length -= (size_t)(end + 1 - line);
        memmove(line, end + 1, length + 1);
    }
}

static void parse_arguments(int count, char **values) {
    if (count < 6 || count % 2 || count > 4 + 2 * STEPS_MAX) {
        fprintf(stderr, "usage: receiver ADDRESS PORT WINDOW REQUEST [EXPECTED FRAME]... EXPECTED\n");
        exit(2);
    }
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(values[2]));
    if (inet_pton(AF_INET, values[1], &server.sin_addr) != 1) die("address");
    window = atoi(values[3]);
    request = from_hex(values[4]);
    for (int i = 5; i < count; i++) {
        if (i % 2) expected[steps++] = from_hex(values[i]);
        else frames[steps - 1] = from_hex(values[i]);
    }
}

int main(int count, char **values) {
    parse_arguments(count, values);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event commands = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &commands)) die("epoll");
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        int was_opening = opening > 0;
        for (int i = 0; i < ready; i++) {
            Client *client = events[i].data.ptr;
            size_t before = opening;
            if (!client) read_commands();
            else read_from(client);
            for (; client && opening < before && to_open; to_open--) connect_one();
        }
        if (was_opening && !opening && !to_open) answer_open();
    }
}
