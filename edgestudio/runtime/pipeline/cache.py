"""Remembers the outputs of inputs that come again, such as a still camera's: exact, bounded, least recent first out."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from edgestudio.runtime.backend import Array


class OutputCache:
    """Outputs by the exact bytes of the feeds; `hits` and `misses` are for telemetry."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._kept: OrderedDict[bytes, dict[str, Array]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    @staticmethod
    def key(feeds: Mapping[str, Array]) -> bytes:
        """A digest of names, shapes, element types and values."""
        digest = hashlib.blake2b(digest_size=20)
        for name in sorted(feeds):
            array = feeds[name]
            digest.update(f"{name}\0{array.dtype.str}{array.shape}\0".encode())
            if array.dtype.hasobject:
                digest.update("\0".join(map(str, array.ravel())).encode())
            else:
                digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
        return digest.digest()

    def get(self, key: bytes) -> dict[str, Array] | None:
        """The outputs remembered under `key`, None when there are none."""
        outputs = self._kept.get(key)
        if outputs is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return outputs

    def put(self, key: bytes, outputs: Mapping[str, Array]) -> None:
        """Remember copies: a runtime may reuse its buffers."""
        self._kept[key] = {name: array.copy() for name, array in outputs.items()}
        while len(self._kept) > self._entries:
            self._kept.popitem(last=False)
