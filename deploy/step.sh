#!/usr/bin/env bash
# step.sh NAME COMMAND...: one line if the command succeeds; all that it said if it fails.
set -euo pipefail
name=$1
shift
if output=$("$@" 2>&1); then
    echo "ok      $name"
else
    status=$?
    printf 'FAILED  %s: %s\n%s\n' "$name" "$*" "$output" >&2
    exit "$status"
fi
