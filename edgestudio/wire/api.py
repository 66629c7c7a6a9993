"""The constants of the protocol between studio and board: version, paths, roles, sizes and headers."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

API_VERSION: Final = 1
"""What this build speaks; a board lists all that it speaks in its `hello`."""

SERVICE_TYPE: Final = "_edgestudio._tcp.local."
DEFAULT_PORT: Final = 8743
DESK_MARK_CHARS: Final = 16
"""Of a studio's fingerprint, what a board announces that this studio started for itself."""

# Paths. `{…}` are filled with `str.format`; see docs/protocol.md for bodies and answers.
HELLO: Final = "/v1/hello"
PAIR_START: Final = "/v1/pair/start"
PAIR_CONFIRM: Final = "/v1/pair/confirm"
INFO: Final = "/v1/info"
STATE: Final = "/v1/state"
HISTORY: Final = "/v1/history"
STREAM: Final = "/v1/stream"
CLOCK: Final = "/v1/clock"
TUF: Final = "/v1/tuf"
TUF_ROLE: Final = "/v1/tuf/{role}"
INSTALLS: Final = "/v1/installs"
INSTALL: Final = "/v1/installs/{id}"
INSTALL_FINISH: Final = "/v1/installs/{id}/finish"
INSTALL_ABORT: Final = "/v1/installs/{id}/abort"
BLOB: Final = "/v1/blobs/{digest}"
BLOB_CHUNK: Final = "/v1/blobs/{digest}/chunks/{index}"
SLOT_ROLLBACK: Final = "/v1/slots/{model}/rollback"
SLOT_PAUSE: Final = "/v1/slots/{model}/pause"
SLOT_RESUME: Final = "/v1/slots/{model}/resume"
SLOT_RELEASE: Final = "/v1/slots/{model}/release"
INFER: Final = "/v1/infer"
BENCH: Final = "/v1/bench"
CAPTURES: Final = "/v1/captures"
CAPTURE: Final = "/v1/captures/{id}"
PAIRING: Final = "/v1/pairing"
PEERS: Final = "/v1/peers"
PEER: Final = "/v1/peers/{fingerprint}"

REQUEST_ID_HEADER: Final = "X-Request-Id"
"""A client's own word for one request; a repeat within `REPLY_KEPT_S` gets the first answer again."""

CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Blobs travel, resume and are checked in chunks of this size; the last one may be shorter."""

MAX_BLOB_BYTES: Final = 64 * 1024**3
MAX_JSON_BYTES: Final = 256 * 1024
MAX_OFFER_BYTES: Final = 4 * 1024 * 1024
MAX_INFER_BYTES: Final = 32 * 1024 * 1024
MAX_JSON_DEPTH: Final = 32
MAX_FRAME_BYTES: Final = 64 * 1024

METADATA_MAX_BYTES: Final = {
    "root": 512_000,
    "timestamp": 16_384,
    "snapshot": 2_000_000,
    "targets": 5_000_000,
}
"""Caps on release metadata by role, in bytes."""

MIN_BODY_BYTES_PER_S: Final = 8 * 1024
BODY_GRACE_S: Final = 30.0
"""A body slower than `MIN_BODY_BYTES_PER_S`, judged after this long, is given up.

Four chunks travel at once, and a radio link with 200 ms and 5 % loss carries some 40 KiB/s for each connection.
"""

REPLY_KEPT_S: Final = 600.0
HEARTBEAT_S: Final = 5.0
"""How often a studio pings the stream; a board silent for twice this long is offline."""

PAIRING_WINDOW_S: Final = 600.0
PAIRING_TRIES: Final = 5
PAIRING_DELAY_S: Final = 1.0

Role = Literal["viewer", "operator", "publisher", "owner"]
"""What a paired studio may do; each role may do what the ones before it may."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)

SAFE_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9_-])?")
"""Names of models, files and roles that travel: nothing that any file system or shell reads specially."""

DIGEST: Final = re.compile(r"[0-9a-f]{64}")
"""A SHA-256 as it travels."""

_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{p}{i}" for p in ("com", "lpt") for i in range(10))})


def is_safe_name(name: str) -> bool:
    """True if `name` can be a file or folder name on every system and means nothing but itself."""
    return SAFE_NAME.fullmatch(name) is not None and ".." not in name and name.split(".")[0] not in _RESERVED


def is_role(value: object) -> bool:
    """True if `value` names one of the `ROLES`."""
    return value in ROLES


def may(role: Role, needed: Role) -> bool:
    """True if someone with `role` may do what `needed` may."""
    return ROLES.index(role) >= ROLES.index(needed)


def role(value: str) -> Role:
    """`value` as a Role; raises ValueError when it is none."""
    if value not in ROLES:
        raise ValueError(f"{value!r} is not a role; roles are {', '.join(ROLES)}")
    return value
