"""The release manifest: what a board is asked to run, what that needs, and the limits it must keep."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgestudio.wire import api
from edgestudio.wire.errors import InputError, InstallError
from edgestudio.wire.fields import Fields, canonical_json

SCHEMA_VERSION = 1
MAX_FILES = 64
ROLE_MODEL = "model"
ROLE_PIPELINE = "pipeline"
ROLE_GOLDEN = "golden"
ROLE_BASELINE = "baseline"
ROLE_SAMPLES = "samples"
ACCELERATORS = (
    "tensorrt", "cuda", "rocm", "openvino-gpu", "openvino-npu", "openvino", "coreml", "qnn", "acl", "armnn", "nnapi",
    "dml", "tensorrt-ep", "xnnpack", "cpu",
)  # fmt: skip
"""What a release may name, best first as a board tries them by itself."""
NVIDIA = frozenset({"tensorrt", "tensorrt-ep", "cuda"})
"""Accelerators that only a GPU of NVIDIA has."""


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release: `name` as it is stored beside the others, content by SHA-256, and by chunk."""

    name: str
    size_bytes: int
    sha256: str
    chunks: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, name: str | None = None) -> ReleaseFile:
        """Describe the file at `path`, reading it once; raises OSError."""
        whole, chunks, size = hashlib.sha256(), [], 0
        with path.open("rb") as f:
            while data := f.read(api.CHUNK_BYTES):
                whole.update(data)
                chunks.append(hashlib.sha256(data).hexdigest())
                size += len(data)
        return cls(name or path.name, size, whole.hexdigest(), tuple(chunks))

    def chunk_bytes(self, index: int) -> int:
        """Size of chunk `index` in bytes; raises IndexError when there is no such chunk."""
        if not 0 <= index < len(self.chunks):
            raise IndexError(index)
        return min(api.CHUNK_BYTES, self.size_bytes - index * api.CHUNK_BYTES)

    def to_dict(self) -> dict[str, Any]:
        """As it travels."""
        return {
            "name": self.name,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "chunks": list(self.chunks),
        }

    @classmethod
    def from_dict(cls, value: object, where: str = "file") -> ReleaseFile:
        """Read what travelled; raises InputError when size, chunks and digests do not fit together."""
        f = Fields(value, where)
        size = f.integer("size_bytes", high=api.MAX_BLOB_BYTES)
        chunks = f.items("chunks", limit=api.MAX_BLOB_BYTES // api.CHUNK_BYTES)
        if len(chunks) != -(-size // api.CHUNK_BYTES):
            raise InputError(f"{where}: {len(chunks)} chunks cannot hold {size} bytes", code="bad-field")
        if not all(isinstance(c, str) and api.DIGEST.fullmatch(c) for c in chunks):
            raise InputError(f"{where}: a chunk is not named by its SHA-256", code="bad-field")
        return cls(f.name("name"), size, f.digest("sha256"), tuple(chunks))


@dataclass(frozen=True)
class Requirements:
    """What a board must have; empty fields ask for nothing."""

    hardware: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    min_memory_bytes: int = 0
    accelerators: tuple[str, ...] = ()
    """Where it may run, best first, `cpu` among them where that will do; empty: wherever the board thinks best."""
    gpu: tuple[str, ...] = ()
    """Names or compute capabilities of the GPUs that it is for; an engine that is shipped ready must say that."""

    def check(
        self,
        *,
        hardware: str,
        arch: str,
        runtimes: Mapping[str, Any],
        memory_bytes: int,
        gpu_matches: Callable[[str], bool] = lambda wanted: False,
        gpu_name: str = "",
    ) -> None:
        """Raise InstallError (code `wrong-device`) naming the first thing that this board lacks.

        `runtimes` are the board's usable runtimes by name; `memory_bytes` is its physical memory; `gpu_matches`
        says whether its GPU is meant by a name or a compute capability.
        """
        if self.hardware and hardware not in self.hardware:
            _lacks(f"it is made for {' or '.join(self.hardware)}, and this board is {hardware or 'unknown'}")
        if self.arch and arch not in self.arch:
            _lacks(f"it is made for {' or '.join(self.arch)} processors, and this board is {arch}")
        if self.runtimes and not any(name in runtimes for name in self.runtimes):
            has = ", ".join(sorted(runtimes)) or "none"
            _lacks(f"it needs the runtime {' or '.join(self.runtimes)}, and this board has {has}")
        if self.accelerators and NVIDIA.issuperset(self.accelerators) and not gpu_name:
            _lacks(f"it runs on {' or '.join(self.accelerators)} alone, and this board has no NVIDIA GPU")
        if self.gpu and not any(gpu_matches(wanted) for wanted in self.gpu):
            has = gpu_name or "no NVIDIA GPU"
            _lacks(f"it is made for the GPU {' or '.join(self.gpu)}, and this board has {has}")
        if memory_bytes < self.min_memory_bytes:
            needed, has_mib = self.min_memory_bytes / 2**20, memory_bytes / 2**20
            _lacks(f"it needs {needed:,.0f} MiB of memory, and this board has {has_mib:,.0f} MiB")

    def to_dict(self) -> dict[str, Any]:
        """As it travels."""
        optional = {"accelerators": list(self.accelerators), "gpu": list(self.gpu)}
        return {
            "hardware": list(self.hardware),
            "arch": list(self.arch),
            "runtimes": list(self.runtimes),
            "min_memory_bytes": self.min_memory_bytes,
            # Left out where they ask for nothing, as releases were signed before there was such a thing.
            **{name: value for name, value in optional.items() if value},
        }

    @classmethod
    def from_dict(cls, value: object) -> Requirements:
        """Read what travelled; raises InputError."""
        f = Fields(value, "requires")
        return cls(
            hardware=f.names("hardware"),
            arch=f.names("arch"),
            runtimes=f.names("runtimes"),
            min_memory_bytes=f.integer("min_memory_bytes", default=0),
            accelerators=f.names("accelerators"),
            gpu=f.names("gpu"),
        )


@dataclass(frozen=True)
class HealthLimits:
    """What a candidate must keep to be committed; None switches a limit off."""

    trial_s: float = 10.0
    trial_inferences: int = 20
    latency_p95_ms: float | None = None
    memory_bytes: int | None = None
    error_rate: float | None = 0.02
    temperature_c: float | None = 90.0
    confidence_distance: float | None = 0.35
    """Largest Wasserstein-1 distance of confidences from the baseline, 0..1."""
    golden_max_abs: float = 1e-2
    """Largest difference from the golden outputs, as a share of their range."""
    golden_label_agreement: float = 0.9
    """Least share of golden inputs that must keep their label, where outputs are scores."""
    on_creep: Literal["event", "rollback"] = "event"
    """What a board does when memory or latency creeps up after the commit: tell, or go back as well."""

    def to_dict(self) -> dict[str, Any]:
        """As it travels."""
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls, value: object) -> HealthLimits:
        """Read what travelled; what is absent has its default, what is null is off. Raises InputError."""
        f, given, default = Fields(value, "limits"), dict(value) if isinstance(value, dict) else {}, cls()
        read: dict[str, Any] = {}
        for name, high in _OPTIONAL_LIMITS.items():
            fallback = None if name in given else getattr(default, name)
            read[name] = f.number(name, low=0, high=high, default=fallback)
        if read["memory_bytes"] is not None:
            read["memory_bytes"] = int(read["memory_bytes"])
        for name, high in _PLAIN_LIMITS.items():
            read[name] = f.number(name, low=0, high=high, default=getattr(default, name))
        read["trial_inferences"] = f.integer("trial_inferences", high=10**7, default=default.trial_inferences)
        read["on_creep"] = f.text("on_creep", pattern=_ON_CREEP, limit=16, default=default.on_creep)
        return cls(**read)


_ON_CREEP = re.compile(r"event|rollback")
_OPTIONAL_LIMITS = {
    "latency_p95_ms": 1e7,
    "memory_bytes": 2.0**53,
    "error_rate": 1.0,
    "temperature_c": 200.0,
    "confidence_distance": 1.0,
}
_PLAIN_LIMITS = {"trial_s": 86_400.0, "golden_max_abs": 1e9, "golden_label_agreement": 1.0}


@dataclass(frozen=True)
class ReleaseManifest:
    """One release of one model. `counter` only grows, per model; `created` is Unix time in seconds.

    `files` are keyed by role (`model`, `pipeline`, `golden`, `baseline`, `samples`, or any plain name); the
    model file that a runtime opens has the role `model`.
    """

    model: str
    version: str
    counter: int
    files: Mapping[str, ReleaseFile]
    created: float
    requires: Requirements = field(default_factory=Requirements)
    limits: HealthLimits = field(default_factory=HealthLimits)
    parent: str | None = None
    note: str = ""

    @property
    def target(self) -> str:
        """What this release is called in signed metadata."""
        return target_name(self.model, self.counter)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together, each distinct content counted once."""
        return sum({f.sha256: f.size_bytes for f in self.files.values()}.values())

    def to_dict(self) -> dict[str, Any]:
        """As it travels and is signed."""
        return {
            "v": SCHEMA_VERSION,
            "model": self.model,
            "version": self.version,
            "counter": self.counter,
            "created": self.created,
            "files": {role: f.to_dict() for role, f in self.files.items()},
            "requires": self.requires.to_dict(),
            "limits": self.limits.to_dict(),
            "parent": self.parent,
            "note": self.note,
        }

    def to_bytes(self) -> bytes:
        """The bytes whose hash is signed."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_dict(cls, value: object) -> ReleaseManifest:
        """Read a manifest that travelled; raises InputError. Signatures are checked by the caller."""
        f = Fields(value, "release")
        schema = f.integer("v", default=SCHEMA_VERSION)
        if schema != SCHEMA_VERSION:
            raise InputError(
                f"this release is written in form {schema}, and form {SCHEMA_VERSION} is understood here",
                hint="Bring the board's agent and the studio to the same version.",
                code="bad-version",
            )
        return cls(
            model=f.name("model"),
            version=f.text("version", limit=100, default=""),
            counter=f.integer("counter", low=1),
            created=f.number("created", low=0, high=1e12) or 0.0,
            files=_files(f.mapping("files", limit=MAX_FILES)),
            requires=Requirements.from_dict(f.mapping("requires", default={})),
            limits=HealthLimits.from_dict(f.mapping("limits", default={})),
            parent=f.digest("parent") if "parent" in f else None,
            note=f.text("note", limit=2000, default=""),
        )


def target_name(model: str, counter: int) -> str:
    """The name of release `counter` of `model` in signed metadata."""
    return f"{model}/{counter}.json"


def split_target(target: str) -> tuple[str, int]:
    """The model and counter that a target names; raises InputError when it is no such name."""
    model, _, rest = target.partition("/")
    number = rest.removesuffix(".json")
    if (
        not api.is_safe_name(model)
        or not rest.endswith(".json")
        or not number.isdecimal()
        or len(number) > 16
    ):
        raise InputError("the target does not name a release", code="bad-field")
    return model, int(number)


def _files(given: Mapping[str, Any]) -> dict[str, ReleaseFile]:
    files: dict[str, ReleaseFile] = {}
    seen: set[str] = set()
    for role, value in given.items():
        if not api.is_safe_name(role):
            raise InputError("release: a file's role is not a plain name", code="bad-field")
        file = ReleaseFile.from_dict(value, f"release file {role}")
        if file.name in seen:
            raise InputError(f"release: two files are called {file.name}", code="bad-field")
        seen.add(file.name)
        files[role] = file
    if ROLE_MODEL not in files:
        raise InputError("release: it has no model file", code="bad-field")
    return files


def _lacks(why: str) -> None:
    raise InstallError(
        f"This release cannot run on this board: {why}.",
        hint="Choose another variant of the model or another board.",
        code="wrong-device",
    )
