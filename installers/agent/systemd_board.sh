#!/bin/sh
# Prepares a folder with a small Debian that boots in a container, with systemd as its first process and a real sshd, so
# that the agent's package and its installer can be tried as on a board:
#   sudo sh installers/agent/systemd_board.sh FOLDER && sudo EDGESTUDIO_SYSTEMD_BOARD=FOLDER \
#       .venv/bin/python -m pytest tests/emulated/test_under_systemd.py
# Needs root and Debian's debootstrap, systemd-container, iproute2 and openssh-client. Changes nothing outside FOLDER.
# SUITE (default bookworm) names the Debian release, MIRROR where it comes from.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "error: this must run as root: it makes a system's files" >&2; exit 2; }
for tool in debootstrap:debootstrap systemd-nspawn:systemd-container ip:iproute2 ssh-keygen:openssh-client; do
    command -v "${tool%%:*}" >/dev/null || { echo "error: ${tool%%:*} is missing. apt-get install ${tool#*:}" >&2; exit 2; }
done
mkdir -p "$1"
root="$(cd "$1" && pwd)/root"
if [ ! -e "$root/usr/sbin/sshd" ]; then
    # shellcheck disable=SC2086
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,adduser,python3,openssh-server,sudo,iproute2,procps \
        "${SUITE:-bookworm}" "$root" ${MIRROR:-} >"$1/debootstrap.log" || { tail -n 5 "$1/debootstrap.log" >&2; exit 3; }
fi
# The person who owns the board: logs in with a key, becomes root by sudo.
chroot "$root" id pi >/dev/null 2>&1 || chroot "$root" useradd --create-home --shell /bin/sh pi
echo 'pi ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/pi"
[ -e "$1/key" ] || ssh-keygen -q -t ed25519 -N '' -f "$1/key"
install -d -m 0700 "$root/home/pi/.ssh"
install -m 0600 "$1/key.pub" "$root/home/pi/.ssh/authorized_keys"
chroot "$root" chown -R pi: /home/pi/.ssh
echo board >"$root/etc/hostname"
echo "127.0.0.1 localhost board" >"$root/etc/hosts"
# What is put on it: the package, and the wheels for the way over ssh. They need the package index; the test does not.
here=$(cd "$(dirname "$0")" && pwd)
python="${PYTHON:-$here/../../.venv/bin/python}"
version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
rm -rf "$1/wheels" "$1/dist"
"$python" "$here/wheels.py" --arch "$(uname -m)" --python "$version" --out "$1/wheels" >/dev/null
"$python" "$here/build_deb.py" --arch "$(dpkg --print-architecture)" --python "$version" --out "$1/dist" >/dev/null
echo "ready: $(chroot "$root" systemctl --version | head -n 1), $(chroot "$root" python3 --version)"
