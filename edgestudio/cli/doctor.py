"""`edgestudio doctor`: what is installed, what the network allows, and what to do about it."""

from __future__ import annotations

import argparse

from edgestudio.cli.console import Console
from edgestudio.studio.app import Studio

_MARK = {True: "ok", False: "no", None: "--"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


async def run(studio: Studio, options: argparse.Namespace, console: Console) -> int:
    """Check and print; what is optional and absent is no failure."""
    checks = await studio.doctor.checks()
    lines: list[str] = []
    for check in checks:
        lines.append(f"{_MARK[check['ok']]:>2}  {check['name']}: {check['detail']}")
        if check.get("remedy"):
            lines.append(f"    {check['remedy']}")
    console.result({"checks": checks}, "\n".join(lines))
    return 0
