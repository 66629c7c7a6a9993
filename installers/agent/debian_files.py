"""What a Debian package holds beside the program: copyright, change logs, manual page, sums, and tidy modes."""

from __future__ import annotations

import email
import email.utils
import gzip
import hashlib
import os
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEBIAN = HERE / "debian"
NAME = "edgestudio-agent"
CHANGELOG = HERE.parent.parent / "CHANGELOG.md"

COPYRIGHT = """\
EdgeStudio's agent
Copyright: 2026 The EdgeStudio developers
License: Apache-2.0; Debian systems have its text in /usr/share/common-licenses/Apache-2.0

The libraries that come with it belong to their own authors. Their licences, with their copyright notices, lie in the
folders named here, below /opt/edgestudio-agent/lib:

"""


def maintainer() -> str:
    """Who answers for the package: whoever builds it, by Debian's own variables DEBFULLNAME and DEBEMAIL."""
    name = os.environ.get("DEBFULLNAME", "The EdgeStudio developers")
    return f"{name} <{os.environ.get('DEBEMAIL', 'developers@edgestudio.example')}>"


def tidy(library: Path) -> None:
    """Make of installed wheels what a package may hold: no tests, no leftovers, no right to execute but programs'."""
    for tests in [*library.glob("numpy/**/tests"), *library.rglob("__pycache__")]:
        shutil.rmtree(tests, ignore_errors=True)
    for leftover in [*library.glob("numpy/_core/_*_tests.*.so"), *library.rglob(".gitignore")]:
        leftover.unlink()
    for path in library.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                is_program = file.read(4) == b"\x7fELF" and ".so" not in path.name
            path.chmod(0o755 if is_program and os.access(path, os.X_OK) else 0o644)


def add_documents(tree: Path, version: str, library: Path) -> None:
    """Lay copyright, change logs, manual page and overrides where Debian looks for them below `tree`."""
    documents = tree / "usr" / "share" / "doc" / NAME
    write(documents / "copyright", COPYRIGHT + "".join(f"{line}\n" for line in _licences(library)))
    packed(documents / "changelog.gz", CHANGELOG.read_text("utf-8"))
    when = email.utils.formatdate(float(os.environ.get("SOURCE_DATE_EPOCH", CHANGELOG.stat().st_mtime)))
    entry = "  * Built from EdgeStudio, whose changes are in changelog.gz beside this."
    packed(
        documents / "changelog.Debian.gz",
        f"{NAME} ({version}) unstable; urgency=medium\n\n{entry}\n\n -- {maintainer()}  {when}\n",
    )
    packed(tree / f"usr/share/man/man1/{NAME}.1.gz", (DEBIAN / f"{NAME}.1").read_text("utf-8"))
    write(tree / "usr/share/lintian/overrides" / NAME, (DEBIAN / "lintian-overrides").read_text("utf-8"))


def _licences(library: Path) -> list[str]:
    """A line for each library: its name and version, what its makers call its licence, and where the text lies."""
    lines = []
    for folder in sorted(library.glob("*.dist-info"), key=lambda path: path.name.lower()):
        said = email.message_from_string((folder / "METADATA").read_text("utf-8"))
        # In this order: what is meant for machines, what is from a list, and what may be the whole text.
        named = [
            said["License-Expression"],
            *(
                each.rpartition(" :: ")[2]
                for each in said.get_all("Classifier", [])
                if each.startswith("License ::")
            ),
            *(said["License"] or "").strip().splitlines()[:1],
        ]
        licence = next(filter(None, named), "see there")
        lines.append(f"{said['Name']} {said['Version']}: {licence} ({folder.name})")
    return lines


def add_sums(tree: Path) -> int:
    """Write DEBIAN/md5sums, by which `dpkg --verify` finds rotten files; returns what is installed, in KiB."""
    lines, size = [], 0
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink() and tree / "DEBIAN" not in path.parents:
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            lines.append(f"{digest}  {path.relative_to(tree)}\n")
            size += -(-path.stat().st_size // 1024)
    write(tree / "DEBIAN" / "md5sums", "".join(lines))
    return size


def packed(path: Path, text: str) -> None:
    """Write `text` at `path` as gzip does with -9n, the same bytes each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    path.chmod(0o644)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write `text` at `path` with exactly that mode, whatever the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
