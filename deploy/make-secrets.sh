#!/usr/bin/env bash
# make-secrets.sh [DIRECTORY [HOST...]]: everything that a secured bus needs, into an ignored directory (.secrets).
# A certificate authority, the bus's certificate (for HOSTs besides those below) and a client's, a password for each
# user, Redis' users with hashes of them, NATS' environment, and the key of the control plane. What is there stays:
# delete a file and run this again to have another one; docs/bus-security.md says who must be told.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
directory=${1:-.secrets}
shift || true
days=825

# Containers of other users read single files that are mounted into them; on this machine the directory is closed.
mkdir -p "$directory"
chmod 700 "$directory"
cd "$directory"
umask 022

names=DNS:localhost,IP:127.0.0.1,IP:::1,DNS:redis,DNS:nats,DNS:redis.tickcast.svc,DNS:nats.tickcast.svc
for host in "$@"; do
    [[ $host =~ ^[0-9.]+$|: ]] && names+=,IP:$host || names+=,DNS:$host
done

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

if [[ ! -e ca.pem ]]; then
    openssl req -x509 "${new_key[@]}" -days 3650 -subj "/CN=Tickcast bus" -keyout ca.key -out ca.pem \
        -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    chmod 600 ca.key
fi

# certificate NAME USAGE: NAME.pem and NAME.key
certificate() {
    [[ -e $1.pem ]] && return
    openssl req "${new_key[@]}" -subj "/CN=tickcast-$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf '%s\n' "subjectAltName=$names" "basicConstraints=CA:false" "keyUsage=digitalSignature" \
        "extendedKeyUsage=$2" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days "$days" -extfile "$1.ext" \
        -out "$1.pem" 2>/dev/null
    chmod 644 "$1.key"
    rm "$1.csr" "$1.ext"
}
certificate bus serverAuth
certificate client clientAuth

# NATS takes a password that begins with a digit for a number.
for user in ingestor replica emitter operator; do
    [[ -e $user.password ]] || printf 'p%s\n' "$(openssl rand -hex 24)" >"$user.password"
done
[[ -e control.key ]] || openssl rand -hex 32 >control.key

users=$(<"$here/redis/users.acl.template")
: >nats.env
for user in ingestor replica emitter operator; do
    hash=$(printf %s "$(<"$user.password")" | openssl dgst -sha256 -r)
    users=${users//\$\{${user^^}_HASH\}/${hash%% *}}
    printf 'NATS_%s_PASSWORD=%s\n' "${user^^}" "$(<"$user.password")" >>nats.env
done
printf '%s\n' "$users" >users.acl
echo "Secrets are in $directory."
