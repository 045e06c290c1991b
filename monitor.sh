#!/bin/sh
# Health, queue and recovery at a glance: ./monitor.sh [watch | status | recover | queue | clear]
# A few words over `gateway`, which does the work; `gateway monitor --help` says more.
# It may be called by a symbolic link, from any directory, and from cron. Where no setting says otherwise it asks the
# gateway whose data lies in this checkout.
file=$(readlink -f -- "$0") && here=${file%/*} || exit 2
gateway=$here/.venv/bin/gateway
test -x "$gateway" || { echo "monitor.sh: the gateway is not installed in $here yet: run \`make install\` there first" >&2; exit 2; }
test -n "$GATEWAY_DATA$GATEWAY_SETTINGS" || export GATEWAY_DATA="$here/data"
word=${1:-watch}
test $# -gt 0 && shift
case $word in
    watch) exec "$gateway" monitor "$@" ;;
    status) exec "$gateway" monitor --once "$@" ;;
    recover | queue | clear) exec "$gateway" "$word" "$@" ;;
    *) echo "usage: ./monitor.sh [watch | status | recover | queue | clear]" >&2; exit 2 ;;
esac
