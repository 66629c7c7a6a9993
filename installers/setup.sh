#!/bin/sh
# Prepares a checkout: a Python environment in .venv with the pinned packages, and the system libraries that
# the window needs. `setup.sh tests` also brings what the tests use: a virtual screen, a broker, a tracer, old runtimes
# beside the present one, and the extras `netron-view`, `fleet` and `camera`.
# Says what it does; safe to run again.
set -eu
cd "$(dirname "$0")/.."

purpose="${1:-use}"
say() { printf '%s\n' "setup: $*" >&2; }
fail() { printf '%s\n' "setup: $1" "       $2" >&2; exit 2; }

find_python() {
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        [ -n "$candidate" ] || continue
        command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

install_system() {
    # $@: packages; a name with a bar offers the newer distribution's name too.
    if ! command -v apt-get >/dev/null 2>&1; then
        fail "these system packages are missing: $*" "Install their equivalents with this system's package manager, then run again."
    fi
    if [ "$(id -u)" = 0 ]; then as_root=""; elif command -v sudo >/dev/null 2>&1; then as_root="sudo"; else
        fail "these system packages are missing: $*" "Run as root: apt-get install $*"
    fi
    say "installing system packages: $*"
    $as_root apt-get update -qq >/dev/null || say "the package lists could not be refreshed; going on with those here"
    chosen=""
    for package in "$@"; do
        name="${package%%|*}"
        other="${package#*|}"
        if [ "$other" != "$package" ] && ! apt-cache show "$name" >/dev/null 2>&1; then name="$other"; fi
        chosen="$chosen $name"
    done
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends $chosen >/dev/null \
        || fail "apt-get could not install:$chosen" "Look at its message above; without network these must be installed beforehand."
}

missing_libraries() {
    # Library file that Qt loads : Debian package that brings it.
    for pair in libEGL.so.1:libegl1 libGL.so.1:libgl1 libxkbcommon.so.0:libxkbcommon0 libdbus-1.so.3:libdbus-1-3 \
        libfontconfig.so.1:libfontconfig1 "libglib-2.0.so.0:libglib2.0-0|libglib2.0-0t64" \
        libxcb-cursor.so.0:libxcb-cursor0 libxkbcommon-x11.so.0:libxkbcommon-x11-0 libxcb-icccm.so.4:libxcb-icccm4 \
        libxcb-keysyms.so.1:libxcb-keysyms1 libxcb-shape.so.0:libxcb-shape0 libxcb-xkb.so.1:libxcb-xkb1; do
        $ldconfig -p | grep -q "${pair%%:*}" || printf '%s ' "${pair#*:}"
    done
    [ "$purpose" = tests ] || return 0
    # What the web engine behind Netron's view loads besides.
    for pair in libnss3.so:libnss3 "libasound.so.2:libasound2|libasound2t64" libXcomposite.so.1:libxcomposite1 \
        libXdamage.so.1:libxdamage1 libXrandr.so.2:libxrandr2 libXtst.so.6:libxtst6 libxkbfile.so.1:libxkbfile1; do
        $ldconfig -p | grep -q "${pair%%:*}" || printf '%s ' "${pair#*:}"
    done
}

if [ "$(uname -s)" = Linux ]; then
    ldconfig=$(command -v ldconfig || echo /sbin/ldconfig)
    wanted=$(missing_libraries)
    if [ "$purpose" = tests ] || [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
        command -v Xvfb >/dev/null 2>&1 || wanted="$wanted xvfb"
        command -v xdotool >/dev/null 2>&1 || wanted="$wanted xdotool"
    fi
    if [ "$purpose" = tests ]; then
        command -v strace >/dev/null 2>&1 || wanted="$wanted strace"
        [ -x /usr/sbin/mosquitto ] || command -v mosquitto >/dev/null 2>&1 || wanted="$wanted mosquitto"
    fi
    # shellcheck disable=SC2086
    [ -z "$wanted" ] || install_system $wanted
fi

python=$(find_python)
[ -n "$python" ] || fail "no Python 3.11, 3.12 or 3.13 was found." "Install one (Debian 12: apt-get install python3 python3-venv) or name it: make run PYTHON=/path/to/python3.11"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    install_system "python$version-venv"
fi

stamp=".venv/installed-$purpose-$(cat pyproject.toml constraints.txt installers/setup.sh installers/old-runtimes/* | cksum | tr ' ' '-')"
if [ ! -e "$stamp" ]; then
    say "creating .venv and installing the pinned packages (about a minute)"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    rm -f .venv/installed-"$purpose"-*
    # Older versions of pip cannot take hashes from a constraints file.
    sed -n '/^pip==/,/[^\\]$/p' constraints.txt >.venv/pip.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/pip.txt \
        || fail "pip could not be updated." "Its message is above; a package index (or PIP_FIND_LINKS with the files) must be reachable."
    .venv/bin/python - "$purpose" >.venv/wanted.txt <<'PYTHON'
import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = ["test", "netron-view", "fleet", "camera"] if sys.argv[1] == "tests" else []
wanted = project["dependencies"] + [name for extra in extras for name in project["optional-dependencies"][extra]]
print(*wanted, "hatchling", sep="\n")
PYTHON
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r .venv/wanted.txt \
        || fail "the Python packages could not be installed." "pip's message is above; a package index (or PIP_FIND_LINKS with the files) must be reachable."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . \
        || fail "EdgeStudio itself could not be installed into .venv." "pip's message is above."
    if [ "$purpose" = tests ]; then
        # Each in a folder of its own: a test puts one before the present runtime for a process at a time.
        for list in installers/old-runtimes/*.txt; do
            name=$(basename "$list" .txt)
            rm -rf ".venv/old-runtimes/$name"
            .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
                --require-hashes --target ".venv/old-runtimes/$name" -r "$list" \
                || fail "the old runtime $name could not be installed." "pip's message is above."
        done
    fi
    : >"$stamp"
fi
