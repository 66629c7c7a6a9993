"""The verbs of the command line: where each lives and what it does in a line. Data, imported first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Verb:
    """`module` has `add_arguments(parser)` and `async run(studio, options, console) -> int`."""

    module: str
    summary: str


VERBS: dict[str, Verb] = {
    "inspect": Verb("edgestudio.cli.inspect", "say what a model file is, without running any of it"),
    "diff": Verb("edgestudio.cli.diff", "structural and numeric difference of two models"),
    "check": Verb("edgestudio.cli.check", "whether a model will run on a board, operator by operator"),
    "edit": Verb("edgestudio.cli.edit", "small edits of a model: names, sizes, a part of it, outputs, opset"),
    "library": Verb("edgestudio.cli.library", "list, search and describe the models that are kept here"),
    "project": Verb("edgestudio.cli.project", "keep the state of the library in a file, and put it back"),
    "registry": Verb("edgestudio.cli.registry", "list the models of a registry"),
    "publish": Verb("edgestudio.cli.publish", "put a model into a registry under a semantic version"),
    "import": Verb("edgestudio.cli.fetch", "take a model from a registry into the library"),
    "recipes": Verb("edgestudio.cli.recipes", "list recipes and passes, and why one is unavailable"),
    "optimize": Verb("edgestudio.cli.optimize", "make a smaller or faster variant of a model by a recipe"),
    "examine": Verb("edgestudio.cli.examine", "whether data fits, and which layers quantisation hurts"),
    "evaluate": Verb("edgestudio.cli.evaluate", "accuracy of a model on labelled data"),
    "bench": Verb("edgestudio.cli.bench", "honest latency of a model, here or on a board"),
    "devices": Verb("edgestudio.cli.devices", "boards that are known or seen on the network"),
    "pair": Verb("edgestudio.cli.pair", "pair with a board by the code that it shows"),
    "unpair": Verb("edgestudio.cli.unpair", "undo a pairing, on the board and here"),
    "push": Verb("edgestudio.cli.push", "install a model on boards, with a health gate"),
    "rollback": Verb("edgestudio.cli.rollback", "put a board back to what it ran before"),
    "pause": Verb(
        "edgestudio.cli.pause", "stop a model's own source on a board; requests are still answered"
    ),
    "resume": Verb("edgestudio.cli.resume", "go on after a pause, or after safe mode"),
    "quarantine": Verb(
        "edgestudio.cli.quarantine", "releases that failed on a board and are refused; let one be tried again"
    ),
    "watch": Verb("edgestudio.cli.watch", "stream what a board reports"),
    "capture": Verb("edgestudio.cli.capture", "keep a model's inputs on a board, and fetch them"),
    "replay": Verb(
        "edgestudio.cli.replay", "do captured inferences again, and say which stage differs first"
    ),
    "history": Verb("edgestudio.cli.history", "what a board reported before, as CSV where asked"),
    "invite": Verb("edgestudio.cli.invite", "open a board for another studio"),
    "peers": Verb(
        "edgestudio.cli.peers", "the studios that a board trusts; as its owner, change or remove one"
    ),
    "provision": Verb("edgestudio.cli.provision", "pair a board without a screen, by a file made here"),
    "keys": Verb("edgestudio.cli.keys", "replace the signing keys, write and read their recovery kit"),
    "doctor": Verb("edgestudio.cli.doctor", "check this installation and network"),
}

# Run by another door (edgestudio.agent.main), listed with the others.
OTHER_VERBS = {
    "agent": "run the board's side here; `agent pair [--reset]`, `agent status`, `agent provision FILE`"
}


def is_for_cli(arguments: Sequence[str]) -> bool:
    """True for what the command line answers although it is no verb: help, and words that are no file."""
    if not arguments:
        return False
    first = arguments[0]
    if first in ("--help", "-h", "help"):
        return True
    # A bare word that names nothing here is a mistyped verb rather than a file to open in the window.
    return not first.startswith("-") and first.isidentifier() and not Path(first).exists()
