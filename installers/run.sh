#!/bin/sh
# Opens the window with a simulated board and the sample model; without a display, plays the same
# demonstration through the real window on a virtual screen and saves a screenshot of every step.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    exec .venv/bin/python -m edgestudio --sample --simulated-board "$@"
fi
exec .venv/bin/python -m tests.journeys.demonstration
