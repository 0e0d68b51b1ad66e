#!/bin/sh
# Boots a real guest on this machine through the vSphere API, shows its console, and cleans up.
# KEEP=1 leaves the guest and the lab running to play with.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
work=$PWD/.build/demo
mkdir -p "$work"
unset VMOPS_URL

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

was_running=no
if vmops lab status >/dev/null 2>&1; then was_running=yes; fi

clean_up() {
    status=$?
    trap - EXIT
    if [ "${KEEP:-0}" = 1 ]; then
        printf '\nThe guest runs on: try "vmops list", and "vmops lab stop" in the end.\n'
    else
        vmops destroy demo >/dev/null 2>&1 || true
        if [ "$was_running" = no ]; then show vmops lab stop || true; fi
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

show vmops lab start
if ! vmops image list -o name | grep -qx tiny; then
    printf '\nBuilding a guest of 64 MB from Debian packages ...\n'
    image=$(python - "$work" <<'PYTHON'
import sys
from pathlib import Path

from vmops.lab.guest import ensure_guest

print(ensure_guest(Path(sys.argv[1])))
PYTHON
    )
    show vmops image add "$image" --name tiny --os otherLinux64Guest
fi
if ! vmops show demo >/dev/null 2>&1; then
    show vmops spawn demo --image tiny --memory 128 --wait
fi
show vmops list
show vmops show demo
show vmops log demo
show vmops screenshot demo "$work/demo.png"
