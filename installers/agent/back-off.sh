#!/bin/sh
# Waits before a start that follows quick deaths: 2, 4, 8 ... 60 seconds, and nothing after a run of two minutes.
# systemd's own growing pause (RestartSteps) is newer than the boards of today; this works on all of them.
set -eu
cd "${RUNTIME_DIRECTORY:?}"
uptime_s() { read -r seconds _ </proc/uptime; echo "${seconds%%.*}"; }
deaths=0
if [ -f starts ]; then
    read -r deaths last <starts
    if [ $(($(uptime_s) - last)) -lt 120 ]; then deaths=$((deaths + 1)); else deaths=0; fi
fi
if [ "$deaths" -gt 0 ]; then
    pause=60
    [ "$deaths" -gt 5 ] || pause=$((1 << deaths))
    echo "the last $deaths runs ended early; starting again in $pause s"
    sleep "$pause"
fi
echo "$deaths $(uptime_s)" >starts
