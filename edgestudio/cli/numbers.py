"""Numbers on the command line that mean something: refused where they do not."""

from __future__ import annotations

import argparse
import math


def duration(text: str) -> float:
    """A span of time, zero or more and finite; for `type=` of an argument."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time; give a number, zero or more")
    return value
