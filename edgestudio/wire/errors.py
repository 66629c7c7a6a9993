"""The one tree of errors that people see: each says what happened and why, and hints what to do.

EdgeStudioError
├── InputError       a file, argument or document that cannot be used            exit code 2
│   ├── ModelError       a model file: missing, truncated, unknown, hostile
│   ├── RecipeError      a recipe, pipeline or data set
│   └── UsageError       a command called wrongly
├── RefusedError     a job or board refused or failed; nothing was changed       exit code 3
│   ├── JobError         a worker's job failed or crashed
│   ├── DeviceError      a board: unreachable, busy, full, vanished
│   └── InstallError     an install ended anywhere but in COMMITTED
└── TrustError       identity, pairing, signature or role                        exit code 3

Anything else that is raised is a bug, and is reported as one.
"""

from __future__ import annotations

from typing import Any

_ENDS = (".", "!", "?", "…", ":")
# Only these get a capital: any other first word may be the name of a board, a model or a file.
_OPENERS = frozenset(
    {"a", "an", "the", "this", "it", "its", "no", "nothing", "there", "what", "everybody", "only", "too", "more",
     "fewer", "two", "unknown", "unreachable", "damaged", "input", "inputs", "output", "outputs", "field", "line",
     "shapes", "sizes", "values", "weights", "scale", "scalars", "histograms", "messages", "mean", "std", "equation",
     "operation", "bodies", "subgraphs", "graphs", "step"}
)  # fmt: skip


class EdgeStudioError(Exception):
    """Root of the tree. `message` says what and why, `hint` what to do, `code` is a stable word for programs."""

    code = "error"
    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details
        if code is not None:
            self.code = code

    def as_dict(self) -> dict[str, Any]:
        """The error as it is printed under `--json` and sent over a pipe or the network."""
        return {"code": self.code, "message": self.sentence, "hint": self.hint}

    @property
    def sentence(self) -> str:
        """The message as a person reads it on its own: a capital first, but never of a name, and a full stop."""
        text = self.message.strip()
        if text.split(" ", 1)[0] in _OPENERS:
            text = text[0].upper() + text[1:]
        return text if not text or text.endswith(_ENDS) else f"{text}."

    @property
    def in_full(self) -> str:
        """The sentence and its hint in one line."""
        return f"{self.sentence} {self.hint}".strip()


class InputError(EdgeStudioError):
    """Something that was given cannot be used as it is."""

    code = "bad-input"
    exit_code = 2


class ModelError(InputError):
    """A model file that is missing, truncated, unknown or hostile."""

    code = "bad-model"


class RecipeError(InputError):
    """A recipe, pipeline or data set that cannot be used."""

    code = "bad-recipe"


class UsageError(InputError):
    """A command or call with the wrong arguments."""

    code = "usage"


class RefusedError(EdgeStudioError):
    """A job or board refused or failed; nothing was changed."""

    code = "refused"


class JobError(RefusedError):
    """A worker's job failed, crashed or was cancelled."""

    code = "job-failed"


class DeviceError(RefusedError):
    """A board that cannot be reached or will not do what was asked."""

    code = "device"


class InstallError(RefusedError):
    """An install that ended anywhere but in COMMITTED; the board keeps what it had."""

    code = "install-failed"


class TrustError(RefusedError):
    """An identity, a pairing code, a signature or a role that does not hold."""

    code = "trust"
