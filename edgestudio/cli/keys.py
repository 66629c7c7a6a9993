"""`edgestudio keys`: the keys that releases are signed with: replace them, keep a recovery kit."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path

from edgestudio.cli.console import Console
from edgestudio.devices.signing import ROLES
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import UsageError

PASSPHRASE = "EDGESTUDIO_KIT_PASSPHRASE"  # noqa: S105  the name of a variable, not its content


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """rotate [--role ROLE] | export FILE | import FILE [--replace]."""
    parser.add_argument("action", choices=("rotate", "export", "import"), metavar="ACTION",
                        help="rotate, export, import")  # fmt: skip
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the recovery kit")
    parser.add_argument("--role", choices=ROLES, help="rotate the key of this role alone")
    parser.add_argument("--replace", action="store_true", help="import although there are keys here")


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """The passphrase is asked for, or taken from EDGESTUDIO_KIT_PASSPHRASE; never from the arguments."""
    if options.action == "rotate":
        said = await studio.trust.rotate(options.role)
        roles = ", ".join(said["roles"])
        console.result(said, f"New keys for {roles}. Boards learn of them with the next push.")
        return 0
    if options.file is None:
        raise UsageError("Say where the recovery kit is.", hint=f"edgestudio keys {options.action} FILE")
    passphrase = _passphrase()
    if options.action == "export":
        path = await studio.trust.export_kit(options.file, passphrase)
        console.result({"kit": str(path)}, f"The recovery kit is {path}. Keep it apart from its passphrase.")
        return 0
    await studio.trust.import_kit(options.file, passphrase, replace=options.replace)
    console.result({"kit": str(options.file), "imported": True}, "The keys are here now.")
    return 0


def _passphrase() -> str:
    given = os.environ.get(PASSPHRASE)
    if given:
        return given
    if not sys.stdin.isatty():
        raise UsageError("The recovery kit needs a passphrase.", hint=f"Put it into {PASSPHRASE}.")
    return getpass.getpass("Passphrase of the recovery kit: ")
