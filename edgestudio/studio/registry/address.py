"""Which registry an address means: a folder, `oci://host/prefix`, `mlflow://host`, `+http` where there is no TLS."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from edgestudio.studio.registry.artifact import Registry
from edgestudio.studio.registry.folder import FolderRegistry
from edgestudio.wire.errors import UsageError

TOKEN_VARIABLE = "EDGESTUDIO_REGISTRY_TOKEN"  # noqa: S105  the name of a variable, not its content


def open_registry(address: str) -> Registry:
    """The registry at `address`; a token for it is taken from EDGESTUDIO_REGISTRY_TOKEN. Raises UsageError."""
    if "://" not in address:
        return FolderRegistry(Path(address).expanduser().absolute())
    parts = urlsplit(address)
    kind, _, transport = parts.scheme.partition("+")
    token = os.environ.get(TOKEN_VARIABLE) or None
    if not parts.netloc or transport not in ("", "http", "https") or "@" in parts.netloc:
        raise UsageError(
            f"{address} is no address of a registry.",
            hint=f"Known: a folder, oci://host/prefix, mlflow://host; a token goes into {TOKEN_VARIABLE}.",
        )
    base = f"{transport or 'https'}://{parts.netloc}"
    # HTTP is loaded with the first registry on a network.
    if kind == "oci":
        from edgestudio.studio.registry.oci import OciRegistry

        return OciRegistry(base, parts.path, token)
    if kind == "mlflow":
        from edgestudio.studio.registry.mlflow import MlflowRegistry

        return MlflowRegistry(base + parts.path.rstrip("/"), token)
    if kind == "file":
        return FolderRegistry(Path(parts.path))
    raise UsageError(
        f"{parts.scheme}:// is no kind of registry that is known here.",
        hint="Known: a folder, oci://host/prefix, mlflow://host (with +http where there is no TLS).",
    )
