#!/bin/sh
# Puts the agent on this board, upgrades it, or removes it. Run as root on the board:
#   sh install.sh                      from the wheel beside this script, dependencies from the package index
#   sh install.sh --wheels DIR         without network: everything from a folder that wheels.py filled on the desk
#   sh install.sh --provision FILE     the board starts paired: FILE comes from `edgestudio provision` on the desk
#   sh install.sh --remove [--purge]   stops and removes it; --purge forgets identity, pairings and models too
set -eu

PREFIX=/opt/edgestudio-agent
STATE=/var/lib/edgestudio
UNIT=/etc/systemd/system/edgestudio-agent.service
NEEDED_MB=500
here=$(cd "$(dirname "$0")" && pwd)

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "error: $1" "       $2" >&2; exit 2; }

[ "$(id -u)" = 0 ] || fail "this must run as root." "Try: sudo sh $0 $*"
wheels=""
action=install
purge=no
provision=""
while [ $# -gt 0 ]; do
    case "$1" in
        --wheels)
            [ $# -ge 2 ] && [ -d "$2" ] || fail "--wheels needs a folder." "Fill one on the desk: python installers/agent/wheels.py --arch $(uname -m) --python 3.x --out DIR"
            wheels=$2
            shift
            ;;
        --provision)
            [ $# -ge 2 ] && [ -f "$2" ] || fail "--provision needs a file." "Make one on the desk: edgestudio provision FILE --name NAME"
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
is_packaged() { command -v dpkg-query >/dev/null 2>&1 && [ "$(dpkg-query -W -f '${db:Status-Status}' edgestudio-agent 2>/dev/null)" = installed ]; }
as_agent() { (cd / && runuser -u edgestudio -- /usr/bin/edgestudio-agent "$@" --data "$STATE"); }

! is_packaged || fail "the Debian package edgestudio-agent is installed on this board." "Upgrade or remove it with apt; this script and the package do not share a board."

if [ "$action" = remove ]; then
    if has_systemd; then systemctl disable --quiet --now edgestudio-agent.service 2>/dev/null || true; fi
    rm -rf "$PREFIX" "$PREFIX.new" "$PREFIX.old" "$UNIT" /usr/bin/edgestudio-agent
    if has_systemd; then systemctl daemon-reload; fi
    if [ "$purge" = yes ]; then
        rm -rf "$STATE"
        userdel edgestudio 2>/dev/null || true
        say "removed, with its identity, pairings and models"
    else
        say "removed; identity, pairings and models stay in $STATE (--purge removes them)"
    fi
    exit 0
fi

case "$(uname -m)" in
    x86_64 | aarch64) ;;
    *) fail "this board is $(uname -m); the agent runs on 64-bit x86-64 and aarch64." "Install a 64-bit operating system." ;;
esac
python=""
for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'; then
        python=$(command -v "$candidate")
        break
    fi
done
[ -n "$python" ] || fail "Python 3.10 to 3.13 was not found here; python3 is: $(python3 --version 2>&1 || true)" "Debian 12 or newer and Ubuntu 22.04 or newer have it: apt-get install python3"
wheel=$(find "$here" ${wheels:+"$wheels"} -maxdepth 1 -name 'edgestudio_agent-*.whl' | sort | tail -n 1)
[ -n "$wheel" ] || fail "no edgestudio_agent-*.whl lies beside this script." "Fill a folder on the desk: python installers/agent/wheels.py --arch $(uname -m) --python 3.x --out DIR"
pip=""
[ -z "$wheels" ] || pip=$(find "$wheels" -maxdepth 1 -name 'pip-*.whl' | sort | tail -n 1)
# pip may come along as a wheel; without it Python's own copy is used.
if [ -z "$pip" ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    fail "Python's venv module is missing." "Debian and Ubuntu: apt-get install python3-venv"
fi
free_mb=$(($(df -Pk /opt | awk 'NR == 2 { print $4 }') / 1024))
[ "$free_mb" -ge "$NEEDED_MB" ] || fail "$free_mb MB are free on /opt; the agent and its libraries need $NEEDED_MB." "Make room, then run this again."

if ! id edgestudio >/dev/null 2>&1; then
    useradd --system --user-group --home-dir "$STATE" --shell /usr/sbin/nologin edgestudio
fi
# Firmware sensors and accelerators belong to these groups, where they exist.
for group in video render; do
    if getent group "$group" >/dev/null; then usermod --append --groups "$group" edgestudio; fi
done
install -d -m 0700 -o edgestudio -g edgestudio "$STATE"

# The new environment is made beside the old one and takes its place in one rename.
rm -rf "$PREFIX.new"
trap 'rm -rf "$PREFIX.new"' EXIT
umask 022
if [ -n "$pip" ]; then
    "$python" -m venv --without-pip "$PREFIX.new"
    "$PREFIX.new/bin/python" "$pip/pip" install --quiet --disable-pip-version-check --no-index --find-links "$wheels" "$wheel[default]" \
        || fail "the wheels in $wheels do not fit this board ($(uname -m), $("$python" --version))." "Gather them for it: python installers/agent/wheels.py. Nothing was changed."
elif [ -n "$wheels" ]; then
    "$python" -m venv "$PREFIX.new"
    "$PREFIX.new/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$wheels" "$wheel[default]" \
        || fail "the wheels in $wheels do not fit this board ($(uname -m), $("$python" --version))." "Gather them for it: python installers/agent/wheels.py. Nothing was changed."
else
    "$python" -m venv "$PREFIX.new"
    "$PREFIX.new/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel[default]" \
        || fail "the dependencies could not be fetched from the package index." "A board without network takes them from a folder: --wheels DIR. Nothing was changed."
fi
install -m 0644 "$here/back-off.sh" "$PREFIX.new/back-off.sh"
rm -rf "$PREFIX.old"
[ ! -d "$PREFIX" ] || mv "$PREFIX" "$PREFIX.old"
mv "$PREFIX.new" "$PREFIX"
trap - EXIT
cat >/usr/bin/edgestudio-agent.new <<LAUNCHER
#!/bin/sh
exec $PREFIX/bin/python -I -m edgestudio.agent.main "\$@"
LAUNCHER
chmod 0755 /usr/bin/edgestudio-agent.new
mv /usr/bin/edgestudio-agent.new /usr/bin/edgestudio-agent

if [ -n "$provision" ]; then
    # As the agent's own user, through a copy that only it can read; it takes no file while it runs.
    if has_systemd; then systemctl stop edgestudio-agent.service 2>/dev/null || true; fi
    install -m 0600 -o edgestudio -g edgestudio "$provision" "$STATE/provision.in"
    taken=0
    as_agent provision "$STATE/provision.in" || taken=$?
    rm -f "$STATE/provision.in"
    if [ "$taken" != 0 ]; then
        if has_systemd && [ -f "$UNIT" ]; then systemctl start edgestudio-agent.service || true; fi
        fail "the provisioning file was not taken." "The agent is installed; see the reason above."
    fi
fi
if ! has_systemd; then
    rm -rf "$PREFIX.old"
    say "installed; this system has no systemd: start it with: sudo -u edgestudio edgestudio-agent --data $STATE"
    exit 0
fi
if [ -f "$UNIT" ] && [ -d "$PREFIX.old" ]; then cp "$UNIT" "$PREFIX.old/unit"; fi
install -m 0644 "$here/edgestudio-agent.service" "$UNIT"
systemctl daemon-reload
systemctl enable --quiet edgestudio-agent.service
if ! systemctl restart edgestudio-agent.service; then
    journalctl --unit edgestudio-agent --lines 10 --no-pager --output cat >&2 || true
    [ -d "$PREFIX.old" ] || fail "the agent does not start." "Its last words are above; more: journalctl -u edgestudio-agent"
    rm -rf "$PREFIX"
    mv "$PREFIX.old" "$PREFIX"
    [ ! -f "$PREFIX/unit" ] || mv "$PREFIX/unit" "$UNIT"
    systemctl daemon-reload
    systemctl restart edgestudio-agent.service || true
    fail "the new agent does not start; the one before it was put back." "Its last words are above."
fi
rm -rf "$PREFIX.old"
say "installed and running, also after every boot"
state=$(as_agent status)
say "$state"
case "$state" in *"paired studios: 0"*) as_agent pair ;; esac
