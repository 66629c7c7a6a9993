"""Writing a file so that a crash leaves the old or the new one, never half of either."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

PRIVATE = 0o600


def write_atomically(path: Path, content: str | bytes, *, mode: int = PRIVATE) -> None:
    """Write beside, flush to the disk, rename over; raises OSError and leaves what is there on failure.

    Missing folders are made, for the owner alone where the file is.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "there is something that is no file", str(path))
    # A path need not be UTF-8: in JSON, what is not stands as an escape, and is read back as it was.
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if mode == PRIVATE else 0o777)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
