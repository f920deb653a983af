#!/bin/sh
# Runs a command where there is no network but loopback, and all that it starts ends with it; what needs /proc and /dev
# finds them in the root. Where HEARTH_HA_PASSWORD is set, a home is in this network, which is kept.
# usage: run.sh ROOT COMMAND...
set -eu
if [ -z "${HEARTH_HA_ROOT:-}" ]; then
    HEARTH_HA_ROOT=$(realpath "$1")
    export HEARTH_HA_ROOT
    shift
    network=--net
    if [ -n "${HEARTH_HA_PASSWORD:-}" ]; then network=; fi
    exec unshare $network --mount --pid --fork --kill-child "$0" "$@"
fi
ip link set lo up
mount -t proc proc /proc
mount -t proc proc "$HEARTH_HA_ROOT/proc"
mount --bind /dev "$HEARTH_HA_ROOT/dev"
"$@"
