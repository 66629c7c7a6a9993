#!/bin/sh
# Puts the agent on this board, upgrades it, or removes it. Run as root on the board:
#   sh install.sh                      from the wheel beside this script, dependencies from the package index
#   sh install.sh --wheels DIR         without network: everything from a folder of wheels
#   sh install.sh --provision FILE     the board starts paired: FILE comes from `edgestudio provision` on the desk
#   sh install.sh --remove [--purge]   stops and removes it; --purge forgets identity, pairings and models too
set -eu

PREFIX=/opt/edgestudio-agent
STATE=/var/lib/edgestudio
UNIT=/etc/systemd/system/edgestudio-agent.service
here=$(cd "$(dirname "$0")" && pwd)

fail() { printf '%s\n' "error: $1" "       $2" >&2; exit 2; }

[ "$(id -u)" = 0 ] || fail "this must run as root." "Try: sudo sh $0 $*"
wheels=""
action=install
purge=no
provision=""
while [ $# -gt 0 ]; do
    case "$1" in
        --wheels) [ $# -ge 2 ] || fail "--wheels needs a folder." "For example: --wheels ./wheels"; wheels=$2; shift ;;
        --provision)
            [ $# -ge 2 ] && [ -f "$2" ] || fail "--provision needs a file." "Make one on the desk: edgestudio provision FILE"
            provision=$2
            shift
            ;;
        --remove) action=remove ;;
        --purge) purge=yes ;;
        *) fail "unknown option $1." "Known: --wheels DIR, --provision FILE, --remove, --purge" ;;
    esac
    shift
done

has_systemd() { [ -d /run/systemd/system ]; }

if [ "$action" = remove ]; then
    if has_systemd; then systemctl disable --now edgestudio-agent.service 2>/dev/null || true; fi
    rm -rf "$PREFIX" "$UNIT" /usr/bin/edgestudio-agent
    if has_systemd; then systemctl daemon-reload; fi
    if [ "$purge" = yes ]; then
        rm -rf "$STATE"
        echo "removed, with its identity, pairings and models"
    else
        echo "removed; identity, pairings and models stay in $STATE (--purge removes them)"
    fi
    exit 0
fi

case "$(uname -m)" in
    x86_64 | aarch64) ;;
    *) fail "this board is $(uname -m); the agent runs on 64-bit x86-64 and aarch64." "Install a 64-bit operating system." ;;
esac
python=""
for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        python=$(command -v "$candidate")
        break
    fi
done
[ -n "$python" ] || fail "Python 3.10 or newer was not found." "Debian and Ubuntu: apt-get install python3 python3-venv"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv module is missing." "Debian and Ubuntu: apt-get install python3-venv"
wheel=$(find "$here" ${wheels:+"$wheels"} -maxdepth 1 -name 'edgestudio_agent-*.whl' | sort | tail -n 1)
[ -n "$wheel" ] || fail "no edgestudio_agent-*.whl lies beside this script." "Build it on the desk: pip wheel --no-deps ./installers/agent"

id edgestudio >/dev/null 2>&1 || useradd --system --home-dir "$STATE" --shell /usr/sbin/nologin edgestudio
install -d -m 0700 -o edgestudio -g edgestudio "$STATE"
# The new environment is made beside the old one and takes its place in one rename.
rm -rf "$PREFIX.new"
"$python" -m venv "$PREFIX.new"
if [ -n "$wheels" ]; then
    "$PREFIX.new/bin/python" -m pip install --quiet --no-index --find-links "$wheels" "$wheel[default]"
else
    "$PREFIX.new/bin/python" -m pip install --quiet "$wheel[default]"
fi
if has_systemd; then systemctl stop edgestudio-agent.service 2>/dev/null || true; fi
rm -rf "$PREFIX.old"
[ ! -d "$PREFIX" ] || mv "$PREFIX" "$PREFIX.old"
mv "$PREFIX.new" "$PREFIX"
rm -rf "$PREFIX.old"
cat >/usr/bin/edgestudio-agent <<LAUNCHER
#!/bin/sh
exec $PREFIX/bin/python -m edgestudio.agent.main "\$@"
LAUNCHER
chmod 0755 /usr/bin/edgestudio-agent
if [ -n "$provision" ]; then
    # As the agent's own user, through a copy that only it can read.
    install -m 0600 -o edgestudio -g edgestudio "$provision" "$STATE/provision.in"
    taken=0
    runuser -u edgestudio -- /usr/bin/edgestudio-agent provision "$STATE/provision.in" --data "$STATE" || taken=$?
    rm -f "$STATE/provision.in"
    [ "$taken" = 0 ] || fail "the provisioning file was not taken." "The agent is installed; see the reason above."
fi
if has_systemd; then
    install -m 0644 "$here/edgestudio-agent.service" "$UNIT"
    systemctl daemon-reload
    systemctl enable --now edgestudio-agent.service
    echo "installed and running; the pairing code: journalctl -u edgestudio-agent -n 20, or: sudo -u edgestudio edgestudio-agent pair --data $STATE"
else
    echo "installed; this system has no systemd: start it with: sudo -u edgestudio edgestudio-agent --data $STATE"
fi
