#!/bin/sh
# Puts the agent on a board over ssh, in one command on the desk: sh over-ssh.sh USER@BOARD [--provision FILE]
# Builds the wheel, copies it with the installer, and runs that as root on the board.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 USER@BOARD [install.sh options]" >&2; exit 2; }
board=$1
shift
provision=""
if [ "${1:-}" = "--provision" ]; then
    [ $# -ge 2 ] && [ -f "$2" ] || { echo "--provision needs a file" >&2; exit 2; }
    provision=$2
    shift 2
fi
here=$(cd "$(dirname "$0")" && pwd)
python="${PYTHON:-$here/../../.venv/bin/python}"
[ -x "$python" ] || python=python3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$folder" "$here"
cp "$here/install.sh" "$here/edgestudio-agent.service" "$folder/"
[ -z "$provision" ] || install -m 0600 "$provision" "$folder/provision.in"
remote=$(ssh "$board" mktemp -d)
scp -q "$folder"/* "$board:$remote/"
ssh -t "$board" "sudo sh '$remote/install.sh' ${provision:+--provision '$remote/provision.in'} $*; status=\$?; rm -rf '$remote'; exit \$status"
