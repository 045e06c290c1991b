#!/bin/sh
# Health, queue and recovery at a glance: ./monitor.sh [watch | status | recover | queue | clear]
# A few words over `gateway`, which does the work; `gateway monitor --help` says more.
cd "$(dirname "$0")" || exit
gateway=.venv/bin/gateway
test -x "$gateway" || { echo "monitor.sh: the gateway is not installed here yet: run \`make install\` first" >&2; exit 2; }
word=${1:-watch}
test $# -gt 0 && shift
case $word in
    watch) exec "$gateway" monitor "$@" ;;
    status) exec "$gateway" monitor --once "$@" ;;
    recover | queue | clear) exec "$gateway" "$word" "$@" ;;
    *) echo "usage: ./monitor.sh [watch | status | recover | queue | clear]" >&2; exit 2 ;;
esac
