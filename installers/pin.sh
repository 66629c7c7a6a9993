#!/bin/sh
# Writes constraints.txt anew: every version that the project or one of its extras installs, with the hashes
# of all its files for every platform, and no address of where they come from. Needs `uv` on the PATH. Versions that are
# there already stay; `sh installers/pin.sh --upgrade` takes the newest that fit.
set -eu
cd "$(dirname "$0")/.."
extras="test tensorflow torch openvino executorch netron-view fleet camera"
arguments=""
for extra in $extras; do arguments="$arguments --extra $extra"; done
cp constraints.txt constraints.new
# shellcheck disable=SC2086
uv pip compile pyproject.toml $arguments --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-annotate --no-header --constraints installers/pins.in -o constraints.new --quiet "$@"
python3 - <<'PYTHON'
import pathlib
import re

source = pathlib.Path("constraints.new")
blocks = re.split(r"\n(?=\S)", source.read_text().strip())
kept = []
for block in blocks:
    name = re.match(r"[A-Za-z0-9._-]+", block).group(0).lower()
    if name == "torch":
        # The CPU build for Python 3.11 on x86-64 is another file of the same version.
        extra = " \\\n    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"
        block = block.replace(extra, "") + extra
    kept.append(block)
header = "# Written by installers/pin.sh from installers/pins.in: versions that were run together, with their hashes.\n"
pathlib.Path("constraints.txt").write_text(header + "\n".join(kept) + "\n")
source.unlink()
PYTHON
