#!/bin/sh
# Boots a real guest on this machine through the vSphere API, shows its console, and cleans up.
# KEEP=1 leaves the guest and the lab running to play with.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
work=$PWD/.build/demo
mkdir -p "$work"
unset VMOPS_URL GOVC_URL

show() {
    printf '\n$ %s\n' "$*"
    "$@" 2>&1
}

was_running=no
if vmops lab status >/dev/null 2>&1; then was_running=yes; fi

clean_up() {
    status=$?
    trap - EXIT
    if [ "${KEEP:-0}" = 1 ]; then
        printf '\nThe guest runs on: try "vmops list" and, in the end, "vmops lab stop".\n'
    else
        if vmops show demo >/dev/null 2>&1; then show vmops destroy demo --yes || true; fi
        if [ "$was_running" = no ]; then show vmops lab stop || true; fi
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

show vmops lab start
if ! vmops image show tiny >/dev/null 2>&1; then
    show vmops image build --name tiny
fi
if ! vmops show demo >/dev/null 2>&1; then
    show vmops spawn demo --image tiny --memory 128M --wait
fi
show vmops list
show vmops log demo
show vmops screenshot demo --output-file "$work/demo.png"
printf '\nThat picture is the guest'"'"'s screen: %s\n' "$work/demo.png"
