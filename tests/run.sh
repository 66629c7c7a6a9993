#!/bin/sh
# Runs all that must hold: first everything but the window, as on a machine without Qt; then the window.
set -u
cd "$(dirname "$0")/.."
python=.venv/bin/python
status=0
"$python" -m pytest --without-qt -p no:pytest-qt -n 2 --dist loadfile \
    --ignore=tests/ui --ignore=tests/journeys --ignore=tests/e2e "$@" tests || status=1
# These wait for boards rather than compute: trials, time-outs, restarts. Four side by side cost little.
"$python" -m pytest --without-qt -p no:pytest-qt -n 4 --dist worksteal "$@" tests/e2e || status=1
"$python" -m pytest "$@" tests/ui tests/journeys || status=1
exit "$status"
