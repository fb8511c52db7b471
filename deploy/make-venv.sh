#!/usr/bin/env bash
# Make the virtual environment .venv with the first Python >= 3.11 that there is; PYTHON=... names another.
set -euo pipefail

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3 python3.12 python3.13}; do
        if "$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

if ! python=$(find_python); then
    deploy/system-packages.sh python
    python=$(find_python) || {
        echo "Tickcast needs Python 3.11 or newer with its venv module; PYTHON=/path/to/python3.11 names one." >&2
        exit 1
    }
fi
"$python" -m venv .venv
