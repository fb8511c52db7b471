#!/usr/bin/env bash
# rolling-restart.sh: give every replica and ingestor of the running Compose project a new container, one after the
# other: after `docker compose build` or `pull`, or a change of .env. Each replica drains, and the next one follows
# when the new one is ready. Ends with status 1 at the first that is not; those behind it are left as they are.
set -euo pipefail
cd "$(dirname "$0")/.."

READY_S=${READY_S:-90}
REPLICAS=(app1 app2)

is_ready() { # CONTAINER
    docker exec "$1" python -c '
import os, sys, urllib.request as u
try:
    u.urlopen(f"http://127.0.0.1:{os.environ["PORT"]}/health/ready", timeout=3)
except OSError:
    sys.exit(1)' 2>/dev/null
}

await_ready() { # NAME CONTAINER
    local began=$SECONDS
    until is_ready "$2"; do
        if ((SECONDS - began > READY_S)); then
            echo "$1 is not ready after $READY_S s; nothing more was restarted" >&2
            exit 1
        fi
        sleep 1
    done
    echo "$1: ready after $((SECONDS - began)) s"
}

for replica in "${REPLICAS[@]}"; do
    await_ready "$replica" "$(docker compose ps -q "$replica")"
done

for replica in "${REPLICAS[@]}"; do
    echo "$replica: takes its leave"
    docker compose up -d --no-deps --force-recreate "$replica"
    await_ready "$replica" "$(docker compose ps -q "$replica")"
done

# The containers of one service would be replaced together: each is taken away by itself, and Compose fills the gap.
mapfile -t ingestors < <(docker compose ps -q ingestor)
for old in "${ingestors[@]}"; do
    echo "ingestor ${old:0:12}: hands over"
    docker stop "$old" >/dev/null
    docker rm "$old" >/dev/null
    docker compose up -d --no-deps --no-recreate --scale "ingestor=${#ingestors[@]}" ingestor
    for container in $(docker compose ps -q ingestor); do
        await_ready "ingestor ${container:0:12}" "$container"
    done
done
echo "Restarted ${#REPLICAS[@]} replicas and ${#ingestors[@]} ingestors in $SECONDS s"
