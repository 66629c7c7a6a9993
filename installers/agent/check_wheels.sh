#!/bin/sh
# Checks that every dependency of the agent has a ready wheel for each supported board: needs the package index.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python="${PYTHON:-$here/../../.venv/bin/python}"
status=0
requirements=$("$python" - "$here/pyproject.toml" <<'PYTHON'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
lists = re.findall(r"^(?:dependencies|onnx|litert) = \[(.*?)\]", text, re.M | re.S)
print(*(name for part in lists for name in re.findall(r'"([^"]+)"', part)), sep="\n")
PYTHON
)
for machine in x86_64 aarch64; do
    for version in 3.10 3.11 3.12 3.13; do
        # shellcheck disable=SC2046
        if printf '%s\n' "$requirements" | tr '\n' '\0' | xargs -0 "$python" -m pip install --quiet --dry-run --ignore-installed \
            --target /nonexistent --implementation cp --only-binary=:all: --python-version "$version" \
            --platform "manylinux_2_28_$machine" --platform "manylinux_2_27_$machine" \
            --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" 2>/dev/null; then
            echo "$machine Python $version: all wheels exist"
        else
            echo "$machine Python $version: a wheel is missing"
            status=1
        fi
    done
done
exit $status
