#!/usr/bin/env bash
# system-packages.sh NAME...: make sure that these are on the machine:
# python, servers, monitors, node, chromium, compiler.
# Installs what is missing with apt-get when it may; otherwise it says the one command that does.
set -euo pipefail
PATH=$PATH:/usr/sbin

missing=()
need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}

for name in "$@"; do
    case $name in
        python) missing+=(python3 python3-venv) ;;
        servers) need redis-server redis-server; need nats-server nats-server; need nginx nginx ;;
        monitors) need promtool prometheus; need amtool prometheus-alertmanager ;;
        node) need node nodejs; need npm npm ;;
        chromium) need chromium chromium ;;
        compiler) if ! command -v cc >/dev/null; then missing+=(gcc libc6-dev); fi ;;
        *) echo "system-packages.sh: there is no $name" >&2; exit 2 ;;
    esac
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

install="apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}"
if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "Tickcast needs ${missing[*]}. On Debian and Ubuntu: sudo sh -c '$install'" >&2
    exit 1
fi

# RUNLEVEL: packages start no service in runlevel 1. Ours run on ports of their own in any case.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
echo "Installing ${missing[*]}"
apt-get update -qq
apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
