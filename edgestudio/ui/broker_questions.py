"""Which broker a fleet reports through, asked in a dialog: it is tried before it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from PySide6.QtWidgets import QWidget

from edgestudio.studio.app import Studio
from edgestudio.studio.commands.commands import Command
from edgestudio.ui.ask import Answers, Question
from edgestudio.ui.board_asking import BoardAsker, number
from edgestudio.ui.desk import Desk
from edgestudio.ui.requests import Requests

_PORT = 8883
_KEPT = ("certificate_file", "key_file")
"""What a `broker.yaml` may say beside what is asked here; it stays."""


class BrokerQuestions(BoardAsker):
    """Adds its commands to the desk's."""

    def __init__(self, desk: Desk, requests: Requests, window: QWidget) -> None:
        super().__init__(desk, requests, window)
        desk.commands.add(
            Command(
                "board.watch_broker", "Watch a fleet through a broker…", self._watch, "board", "", lambda _: True,
                "For boards that report to an MQTT broker, where this computer cannot reach them",
            )
        )  # fmt: skip
        desk.commands.add(
            Command(
                "board.leave_broker", "Stop watching through the broker", self._leave, "board", "",
                lambda _: requests.is_broker_watched(),
            )
        )  # fmt: skip

    def _watch(self) -> None:
        self._requests.serve(_described, self._ask_about, self._requests.report)

    def _ask_about(self, known: Mapping[str, Any]) -> None:
        async def work(studio: Studio, said: Answers) -> str:
            way = await studio.collecting.watch(_fields(said, known))
            return (
                f"Connected to {way.host}:{way.port}. What paired boards report there appears on the dashboard, "
                "today and whenever EdgeStudio runs."
            )

        secret = known.get("password")
        file = secret.get("file") if isinstance(secret, Mapping) else None
        questions = [
            Question("host", "Broker", str(known.get("host", "")), hint="Name or address of an MQTT 5 broker."),
            Question("port", "Port", str(known.get("port", _PORT))),
            Question("is_tls", "Encrypted (TLS)", "true" if known.get("is_tls", True) else "", kind="check",
                     hint="Off only for a broker on this computer.", is_required=False),
            Question("username", "User", str(known.get("username", "")), is_required=False),
            Question("password", "Password", "" if file else str(secret or ""), kind="secret",
                     hint=f"Empty: as in {file}." if file else "", is_required=False),
            Question("ca_file", "Certificate authority", str(known.get("ca_file", "")), kind="file",
                     hint="PEM file; empty: those that this computer trusts.", is_required=False),
            Question("fleet", "Fleet", str(known.get("fleet", "home")), hint="As in the boards' board.yaml."),
        ]  # fmt: skip
        self._ask(
            "broker-dialog", "Watch a fleet through a broker", questions, work, accept="Watch",
            sentence="Boards that are paired with this studio and have an uplink in their board.yaml. "
            "Only what they report travels this way, signed by each board.",
        )  # fmt: skip

    def _leave(self) -> None:
        self._serve(lambda studio: studio.collecting.leave())


async def _described(studio: Studio) -> dict[str, Any]:
    return await asyncio.to_thread(studio.collecting.described)


def _fields(said: Answers, known: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an `Uplink`, as they were answered; what was not asked for is as it was at the same broker."""
    port = number(said["port"], "The port", 1, 65535)
    fields = {**said, "ca_file": str(said["ca_file"] or ""), "port": int(port or _PORT)}
    is_same = said["host"] == known.get("host")
    kept = {name: known[name] for name in _KEPT if is_same and name in known}
    if is_same and not said["password"] and isinstance(known.get("password"), Mapping):
        kept["password"] = known["password"]
    return {name: value for name, value in fields.items() if value != ""} | kept
