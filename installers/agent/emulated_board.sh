#!/bin/sh
# Prepares a folder in which an aarch64 Python with the agent's dependencies runs under an emulator on x86-64, so that
# the agent's own tests can be run as on a board (functionally: an emulator says nothing of speed).
#   sh installers/agent/emulated_board.sh FOLDER && EDGESTUDIO_EMULATED_BOARD=FOLDER \
#       .venv/bin/python -m pytest tests/emulated/test_aarch64.py          (-k test_link: one file; what passed is not run again)
# Preparing takes a minute and 430 MB; the whole job with a desk takes three minutes, the rooms' own tests may take hours.
# Needs Debian's qemu-user-static and the package index. Changes nothing outside FOLDER: the foreign packages are
# unpacked there from a package list of their own.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
python="${PYTHON:-$here/../../.venv/bin/python}"
command -v qemu-aarch64-static >/dev/null || { echo "error: the emulator is missing. apt-get install qemu-user-static" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
root="$folder/root"
lists="$folder/apt"
mkdir -p "$root" "$lists/lists/partial" "$lists/cache/archives/partial" "$folder/debs"
: >"$lists/status"
grep -l '^URIs:.*deb\|^deb ' /etc/apt/sources.list.d/debian.sources >/dev/null 2>&1 || { echo "error: this needs Debian's own package sources" >&2; exit 2; }
apt() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$lists" -o Dir::State::Lists="$lists/lists" \
        -o Dir::State::status="$lists/status" -o Dir::Cache="$lists/cache" -o APT::Sandbox::User=root \
        -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$lists/sources" "$@"
}
mkdir -p "$lists/sources"
cp /etc/apt/sources.list.d/debian.sources "$lists/sources/"
apt update
packages="libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libssl3 libffi8 libsqlite3-0 libbz2-1.0 liblzma5 libuuid1 libncursesw6 libtinfo6 libreadline8 libcrypt1 libdb5.3 libnsl2 libtirpc3 libgomp1 ca-certificates media-types python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3.11"
# shellcheck disable=SC2086
(cd "$folder/debs" && apt download $packages)
for package in "$folder"/debs/*.deb; do dpkg-deb -x "$package" "$root"; done
rm -rf "$folder/lib"
# 1.22 is the newest ONNX Runtime whose aarch64 build starts under the emulator of Debian 12.
"$python" -m pip install -qq --no-warn-conflicts --target "$folder/lib" --implementation cp --python-version 3.11 --only-binary=:all: \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    aiohttp cryptography 'numpy<2.4' pillow psutil 'pydantic>=2.10,<3' pyyaml securesystemslib spake2 tuf zeroconf 'onnxruntime==1.22.1' \
    pytest pytest-timeout hypothesis onnx aiomqtt platformdirs psygnal   # what the tests themselves use, a desk among it
# What starts this Python starts the emulator; naming itself by the script's path, it starts its children the same way.
# The processor is a Raspberry Pi 4's: with all that the emulator knows, Python takes four times as long.
cat >"$folder/python" <<LAUNCHER
#!/bin/sh
exec qemu-aarch64-static -cpu cortex-a72 -L "$root" -0 "$folder/python" -E PYTHONPATH="$folder/lib:\${PYTHONPATH:-}" \\
    -E SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$root/usr/bin/python3.11" "\$@"
LAUNCHER
chmod +x "$folder/python"
# Started thousands of times, it must not compile its own library each time. A Python 3.11 of this machine does it sooner.
compiler="$python"
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || compiler="$folder/python"
"$compiler" -m compileall -q "$root/usr/lib/python3.11"
"$folder/python" -c 'import platform, subprocess, sys
import numpy, cryptography, aiohttp, onnxruntime
subprocess.run([sys.executable, "-c", "import platform; assert platform.machine() == \"aarch64\""], check=True)
print("ready:", platform.machine(), "Python", platform.python_version(), "ONNX Runtime", onnxruntime.__version__)'
