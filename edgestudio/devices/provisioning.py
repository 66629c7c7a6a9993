"""Prepares the data folder of a board that nobody will sit in front of: it starts paired, and is known here."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from edgestudio.devices.known import KnownBoard
from edgestudio.devices.publisher import Publisher
from edgestudio.wire import api
from edgestudio.wire.errors import InputError
from edgestudio.wire.fields import canonical_json
from edgestudio.wire.files import write_atomically
from edgestudio.wire.identity import Identity


def provision_board(
    folder: Path,
    identity: Identity,
    studio_name: str,
    publisher: Publisher,
    *,
    board_name: str,
    host: str,
    port: int = api.DEFAULT_PORT,
) -> KnownBoard:
    """Fill `folder` with the board's identity and `provision.json`, to be copied to the agent's data folder.

    The caller keeps the returned board; its address may change, since it is found by its fingerprint. Whoever can
    read the folder can be that board, so it must travel like a key. Raises InputError when the folder is in use.
    """
    if (folder / "identity").exists() or (folder / "peers.json").exists():
        raise InputError(
            f"{folder} holds a board already.", hint="Name an empty folder.", code="folder-in-use"
        )
    board = Identity.load_or_create(folder / "identity", board_name)
    root = dict(publisher.metadata({}))
    newest = next(data.decode() for role, data in root.items() if role.endswith(".root"))
    peer = {"name": studio_name, "role": "owner", "certificate": identity.cert_pem, "root": newest}
    write_atomically(folder / "provision.json", canonical_json({"v": 1, "peers": [peer]}))
    return KnownBoard(
        fingerprint=board.fingerprint,
        name=board_name,
        host=host,
        port=port,
        certificate_pem=board.cert_pem,
        role="owner",
        paired_at=time.time(),
    )


def provision_file(
    file: Path,
    identity: Identity,
    studio_name: str,
    publisher: Publisher,
    *,
    board_name: str,
    host: str,
    port: int = api.DEFAULT_PORT,
) -> KnownBoard:
    """Write everything that `provision_board` puts into a folder into one `file`, for the agent's installer.

    `edgestudio-agent provision FILE` on the board takes it over. The file holds the board's key: carry it like one and
    remove it afterwards. Raises InputError when the file is there already.
    """
    if file.exists():
        raise InputError(f"{file} is there already.", hint="Name another file.", code="file-exists")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        board = provision_board(
            folder, identity, studio_name, publisher, board_name=board_name, host=host, port=port
        )
        document = json.loads((folder / "provision.json").read_bytes())
        document["identity"] = {
            "certificate": (folder / "identity" / "cert.pem").read_text("ascii"),
            "key": (folder / "identity" / "key.pem").read_text("ascii"),
        }
        write_atomically(file, canonical_json(document))
    return board
