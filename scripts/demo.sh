#!/bin/sh
# Boots a real guest on this machine through the vSphere API, shows its console, and cleans up.
# KEEP=1 leaves the guest and the lab running to play with.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
pictures=.build/demo
mkdir -p "$pictures"

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
        printf '\nThe guest keeps running: try `vmops list`, and `vmops lab stop` in the end.\n'
    else
        vmops destroy demo >/dev/null 2>&1 || true
        if [ "$was_running" = no ]; then show vmops lab stop || true; fi
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

show vmops lab start
if ! vmops show demo >/dev/null 2>&1; then
    if ! vmops image list -o name | grep -qx tiny; then
        show python -m vmops.lab.guest "$pictures/tiny.vmdk"
        show vmops image add "$pictures/tiny.vmdk" --name tiny --os otherLinux64Guest
    fi
    show vmops spawn demo --image tiny --memory 128 --wait
fi
show vmops list
show vmops show demo
show vmops log demo
show vmops screenshot demo "$pictures/demo.png"
