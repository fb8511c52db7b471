import { Candles } from "./candles.js";
import { Emitter } from "./emitter.js";
import { TickcastError } from "./errors.js";
import { OrderBook } from "./order-book.js";
import { Replays } from "./replays.js";
import { KINDS } from "./stream-names.js";
import { Streams } from "./streams.js";
import { Subscription } from "./subscription.js";
import { Turns } from "./turns.js";

/** @typedef {import("../types/index.d.ts").Client} ClientShape */
/** @typedef {import("../types/index.d.ts").ClientEvents} ClientEvents */
/** @typedef {import("../types/index.d.ts").ClientState} ClientState */
/** @typedef {import("../types/index.d.ts").ConnectOptions} ConnectOptions */
/** @typedef {import("../types/index.d.ts").HistoryRequest} HistoryRequest */
/** @typedef {import("../types/index.d.ts").KindName} KindName */
/** @typedef {import("../types/index.d.ts").KlineRow} KlineRow */
/** @typedef {import("../types/index.d.ts").Refusal} Refusal */
/** @typedef {import("../types/index.d.ts").ServerTime} ServerTime */

const ANSWER_WITHIN_MS = 10_000;
/** What a server answers at once of one client, and how many more requests may wait for their turn. */
const [HISTORY_AT_ONCE, HISTORY_WAITING] = [4, 1000];
const RETRY_AFTER_S = 5;

/**
 * The connection, its state, and what goes over it.
 * @extends {Emitter<ClientEvents>}
 * @implements {ClientShape}
 */
export class Client extends Emitter {
  /** @type {ClientState} */
  #state = { connection: "connecting", exchange: "unknown", source: "", replica: "", clientId: "" };
  #history = new Turns(HISTORY_AT_ONCE, HISTORY_WAITING);
  #streams;
  #replays;
  /** @type {Refusal | undefined} why the server is about to disconnect us */
  #expiry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #token;
  #renewToken;
  /** @type {string | undefined} the token by which this connection was let in, or not */
  #shown;
  #socket;
  /** @type {import("./streams.js").Call} */
  #call = (event, body, done) => void this.#socket.timeout(ANSWER_WITHIN_MS).emit(event, body, done);

  /**
   * @param {typeof import("socket.io-client").io} io of socket.io-client, wherever it was loaded from
   * @param {string | undefined} url
   * @param {ConnectOptions} options
   */
  constructor(io, url, { token, apiKey, renewToken, transports = ["websocket", "polling"] }) {
    super();
    this.#token = token;
    this.#renewToken = renewToken;
    const options = {
      transports,
      tryAllTransports: true,
      // Of its own, not shared with other users of socket.io-client in the same program.
      forceNew: true,
      // Jittered by half: clients that lost their replica together must not come back together.
      reconnectionDelay: 300,
      reconnectionDelayMax: 5000,
      randomizationFactor: 0.5,
      auth: (/** @type {(auth: object) => void} */ show) => void this.#showCredentials(show, apiKey),
    };
    this.#socket = url === undefined ? io(options) : io(url, options);
    this.#streams = new Streams(this.#call);
    this.#replays = new Replays(this.#call);
    this.#listenToConnection();
    this.#listenToMessages();
  }

  /** @returns {Readonly<ClientState>} */
  get state() {
    return this.#state;
  }

  /**
   * @param {any} request
   * @returns {any}
   * @throws {TickcastError} `closed`, `too_many_streams`
   */
  subscribe(request) {
    this.#checkOpen();
    const subscription = new Subscription(
      request,
      (left) => this.#streams.remove(left),
      (event, body) => this.emit(event, body),
    );
    this.#streams.add(subscription);
    return subscription;
  }

  /**
   * @param {string} symbol
   * @param {{market?: import("../types/index.d.ts").Market}} [options]
   */
  orderBook(symbol, { market = "spot" } = {}) {
    return new OrderBook(
      (onMessage) => this.subscribe({ streamType: "book", symbols: [symbol], market, onMessage }),
      (onLost) => this.on("status", ({ connection }) => connection === "disconnected" && onLost()),
    );
  }

  /** @param {import("../types/index.d.ts").CandlesRequest} request */
  candles(request) {
    return new Candles(this, request);
  }

  /**
   * @param {HistoryRequest} request
   * @returns {Promise<KlineRow[]>}
   */
  async getHistoricalKlines(request) {
    const { klines } = await this.#history.run(() => this.#ask("getHistoricalKlines", request));
    return klines;
  }

  /**
   * @param {any} request
   * @returns {any}
   * @throws {TickcastError} `closed`, `replay_limit`
   */
  replay(request) {
    this.#checkOpen();
    return this.#replays.start(request);
  }

  /** @returns {Promise<ServerTime>} */
  async time() {
    const askedAt = performance.now();
    const { serverTime, lastMessage, hops } = await this.#ask("time", null);
    return { askedAt, answeredAt: performance.now(), serverTime, lastMessage, hops };
  }

  /** @param {string} token */
  async authenticate(token) {
    const { expiresAt, left } = await this.#ask("authenticate", { token });
    if (typeof this.#token !== "function") this.#token = token;
    this.#shown = token;
    this.#streams.renew(left);
    return { expiresAt, left };
  }

  close() {
    this.#end(undefined);
  }

  #listenToConnection() {
    const socket = this.#socket;
    socket.on("connect", () => {
      this.#setState({ connection: "connected" });
      this.#streams.connect();
    });
    socket.on("disconnect", (reason) => {
      this.#streams.disconnect();
      this.#replays.disconnect();
      if (this.#state.connection === "closed") return;
      this.#setState({ connection: "disconnected", exchange: "unknown" });
      if (reason === "io server disconnect") this.#onDismissed();
    });
    socket.on("connect_error", (/** @type {Error & {data?: Refusal}} */ error) => {
      this.#setState({ connection: "disconnected" });
      // Inactive where the server refused us in its own words; otherwise socket.io-client tries again.
      if (!socket.active) this.#onRefused(error.data ?? { code: "unauthorized", message: error.message });
    });
  }

  #listenToMessages() {
    const socket = this.#socket;
    for (const kind of KINDS) socket.on(kind, (/** @type {any} */ body) => this.#onMessage(kind, body));
    socket.on("connected", ({ client_id: clientId, replica, source }) => this.#setState({ clientId, replica, source }));
    socket.on("status", ({ exchange, source, replica }) => this.#setState({ exchange, source, replica }));
    socket.on("draining", (notice) => this.emit("draining", notice));
    socket.on("gap", (gap) => this.#streams.routeGap(gap));
    socket.on("replayEnd", (end) => this.#replays.finish(end));
    socket.on("error", (refusal) => this.#onError(refusal));
  }

  /**
   * @param {KindName} kind
   * @param {any} body
   */
  #onMessage(kind, { stream, cursor, ts, data, replay }) {
    const message = { kind, stream, cursor, ts, data, isSnapshot: false };
    if (replay !== undefined) {
      this.#replays.route(replay, message);
      return;
    }
    this.emit("message", message);
    this.#streams.route(message);
  }

  /** @param {Refusal} refusal */
  #onError(refusal) {
    if (refusal.code === "token_expired") this.#expiry = refusal;
    else if (!this.#streams.routeError(refusal)) this.#warn(refusal);
  }

  /** The server has disconnected us on purpose; socket.io-client does not come back by itself then. */
  #onDismissed() {
    const refusal = this.#expiry ?? { code: "disconnected", message: "The server disconnected this client" };
    this.#expiry = undefined;
    if (refusal.code === "token_expired" && this.#renewToken) void this.#renew(refusal, this.#renewToken);
    else if (refusal.code === "token_expired" && typeof this.#token === "function") this.#connectAfter(0);
    else this.#end(new TickcastError(refusal));
  }

  /** @param {Refusal} refusal */
  #onRefused(refusal) {
    const passes = refusal.retryAfter !== undefined || refusal.code.startsWith("too_many");
    if (passes) this.#connectAfter(refusal.retryAfter ?? RETRY_AFTER_S);
    else if (refusal.code === "unauthorized" && this.#renewToken) void this.#renew(refusal, this.#renewToken);
    else this.#end(new TickcastError(refusal));
  }

  /**
   * Connect with another token, once there is one.
   * @param {Refusal} refusal of the one that we have
   * @param {NonNullable<ConnectOptions["renewToken"]>} renewToken
   */
  async #renew(refusal, renewToken) {
    try {
      const token = await renewToken(refusal, this.#shown);
      if (typeof this.#token !== "function") this.#token = token;
    } catch (error) {
      this.#end(new TickcastError({ ...refusal, message: `${refusal.message}. No other token was given: ${error}` }));
      return;
    }
    if (this.#state.connection !== "closed") this.#connectAfter(0);
  }

  /** @param {number} seconds at least, and up to a half and a second more */
  #connectAfter(seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#socket.connect(), (seconds * (1 + Math.random() / 2) + Math.random()) * 1000);
  }

  /**
   * @param {(auth: object) => void} show
   * @param {string | undefined} apiKey
   */
  async #showCredentials(show, apiKey) {
    try {
      this.#shown = typeof this.#token === "function" ? await this.#token() : this.#token;
      show({ token: this.#shown, apiKey });
    } catch (error) {
      this.#end(new TickcastError({ code: "unauthorized", message: `No token was made: ${error}` }));
    }
  }

  /** @param {Partial<ClientState>} change */
  #setState(change) {
    if (this.#state.connection === "closed") return;
    const names = /** @type {(keyof ClientState)[]} */ (Object.keys(change));
    if (names.every((name) => this.#state[name] === change[name])) return;
    this.#state = { ...this.#state, ...change };
    this.emit("status", this.#state);
  }

  /**
   * End for good; with an error, everybody who waits is told.
   * @param {TickcastError | undefined} error
   */
  #end(error) {
    if (this.#state.connection === "closed") return;
    clearTimeout(this.#timer);
    this.#setState({ connection: "closed", exchange: "unknown" });
    this.#streams.end(error);
    this.#replays.disconnect();
    this.#socket.disconnect();
    if (error) this.#warn(error);
  }

  /** @param {Refusal} refusal */
  #warn(refusal) {
    if (!this.emit("error", refusal)) console.warn(`tickcast: ${refusal.message} (${refusal.code})`);
  }

  #checkOpen() {
    if (this.#state.connection === "closed") throw new TickcastError({ code: "closed", message: "The client is closed" });
  }

  /**
   * @param {string} event
   * @param {unknown} body
   * @returns {Promise<any>} the answer
   * @throws {TickcastError} the refusal, `no_answer`, `closed`
   */
  #ask(event, body) {
    return new Promise((resolve, reject) => {
      this.#checkOpen();
      this.#call(event, body, (error, answer) => {
        if (error) reject(new TickcastError({ code: "no_answer", message: `${event}: ${error.message}` }));
        else if (answer.ok) resolve(answer);
        else reject(new TickcastError(answer));
      });
    });
  }
}
