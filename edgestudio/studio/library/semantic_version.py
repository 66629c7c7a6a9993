"""Semantic versions: read, refused with a reason, and put in order (Semantic Versioning 2.0.0)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import total_ordering

from edgestudio.wire.errors import InputError

_FORM = re.compile(
    r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)
_LONGEST = 100


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """`major.minor.patch`, with `pre` such as ("rc", "1") before a release; `build` plays no part in the order."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()
    build: str = ""

    def __str__(self) -> str:
        pre = f"-{'.'.join(self.pre)}" if self.pre else ""
        return f"{self.major}.{self.minor}.{self.patch}{pre}{'+' + self.build if self.build else ''}"

    def __lt__(self, other: Version) -> bool:
        return self._order() < other._order()

    @property
    def next_patch(self) -> Version:
        """The smallest release above this one."""
        return Version(self.major, self.minor, self.patch if self.pre else self.patch + 1)

    def _order(self) -> tuple[object, ...]:
        # A release is above its candidates; numbers are below words, and a longer candidate above its beginning.
        words = tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in self.pre)
        return self.major, self.minor, self.patch, not self.pre, words


def parse_version(text: str) -> Version:
    """Read a version, with or without a leading `v`; raises InputError (`bad-version`)."""
    found = _FORM.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if found is None:
        raise InputError(
            f"{text[:_LONGEST]!r} is no semantic version.",
            hint="Write MAJOR.MINOR.PATCH, such as 1.2.0 or 2.0.0-rc.1.",
            code="bad-version",
        )
    major, minor, patch, pre, build = found.groups()
    return Version(int(major), int(minor), int(patch), tuple(pre.split(".")) if pre else (), build or "")


def in_order(versions: Iterable[str]) -> list[str]:
    """Versions from oldest to newest; what is no semantic version comes first, as it was."""
    odd, sound = [], []
    for text in versions:
        try:
            sound.append((parse_version(text), text))
        except InputError:
            odd.append(text)
    return odd + [text for _, text in sorted(sound, key=lambda pair: pair[0])]
