"""Documents of the sources that a board infers on by itself, beside a folder: sound, tensors, camera, HTTP, MQTT."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edgestudio.runtime.documents import Document
from edgestudio.runtime.pipeline.policies import Priority
from edgestudio.runtime.pipeline.sources import FolderSource

Path = Annotated[str, Field(min_length=1, max_length=4096)]
SecretName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
"""The name of a secret in the board's own configuration; secrets themselves never travel with a release."""
PayloadKind = Literal["auto", "image", "wav", "npy", "raw", "json"]


class AudioSource(Document):
    """Windows of sound files, one after another."""

    kind: Literal["audio"] = Field(description="Windows of a WAV file, or of all in a folder.")
    path: Path = Field(description="The .wav file or folder; relative to the release.")
    window: int = Field(ge=1, le=1 << 26, description="Samples in one window, at the file's own rate.")
    hop: int | None = Field(
        None, ge=1, le=1 << 26, description="Samples from one window's start to the next; none: no overlap."
    )
    rate_hz: float = Field(10.0, gt=0, le=10_000, description="How many windows a second are offered.")
    loops: bool = Field(True, description="Start again after the last window.")


class TensorSource(Document):
    """Rows of arrays in an .npz, fed to the inputs that have the arrays' names."""

    kind: Literal["tensors"] = Field(
        description="An .npz with one array per model input, rows first, or one array in an .npy."
    )
    path: Path = Field(description="The .npz or .npy file; relative to the release.")
    arrays: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=64)] = Field(
        [], description="Arrays to feed; left out: those named as inputs, or else `x`."
    )
    rate_hz: float = Field(10.0, gt=0, le=10_000, description="How many rows a second are offered.")
    loops: bool = Field(True, description="Start again after the last row.")


class CameraSource(Document):
    """Frames of a camera, or of a video file, through OpenCV."""

    kind: Literal["camera"] = Field(description="A camera; needs opencv-python-headless on the board.")
    device: int | Path = Field(0, description="The camera's number, or its device, video file or stream.")
    width: int | None = Field(None, ge=1, le=16384, description="Pixels to ask the camera for.")
    height: int | None = Field(None, ge=1, le=16384, description="Pixels to ask the camera for.")
    rate_hz: float = Field(10.0, gt=0, le=240, description="How many frames a second are taken.")
    loops: bool = Field(False, description="For video files: start again after the last frame.")


class HttpSource(Document):
    """Items that other programs on the board post; every request must carry a token."""

    kind: Literal["http"] = Field(description="Items by HTTP POST to a local port.")
    host: str = Field(
        "127.0.0.1",
        max_length=255,
        description="Where to listen; others than loopback only if the board allows.",
    )
    port: int = Field(ge=0, le=65535, description="An unprivileged port; 0 takes any that is free.")
    token: SecretName | None = Field(
        None, description="Name of the token in the board's configuration; none: the board makes one."
    )
    priority: Priority = Field("normal", description="Who goes first when several wait.")
    max_bytes: int = Field(8 << 20, ge=1, le=64 << 20, description="Largest body that is taken.")
    deadline_ms: float = Field(10_000, gt=0, le=600_000, description="How long a caller waits at most.")

    @model_validator(mode="after")
    def _port_is_unprivileged(self) -> HttpSource:
        if 0 < self.port < 1024:
            raise ValueError("the port must be 1024 or above, or 0")
        return self


class Broker(Document):
    """Where an MQTT broker is, and who we are there."""

    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="The broker's name or address.")
    port: int = Field(1883, ge=1, le=65535, description="The broker's port.")
    is_tls: bool = Field(
        False, description="Whether the connection is encrypted, and the broker's name checked."
    )
    username: str | None = Field(None, max_length=200, description="Left out: anonymous.")
    password: SecretName | None = Field(
        None, description="Name of the password in the board's configuration."
    )


class MqttSource(Document):
    """Items that arrive on an MQTT topic."""

    kind: Literal["mqtt"] = Field(description="Items from an MQTT topic; needs the extra `fleet`.")
    broker: Broker = Field(default_factory=lambda: Broker(), description="Where to subscribe.")
    topic: str = Field(min_length=1, max_length=1000, description="The topic; + and # are wildcards.")
    qos: Literal[0, 1, 2] = Field(0, description="How hard the broker tries.")
    payload: PayloadKind = Field("auto", description="What a message holds; auto looks at its first bytes.")
    priority: Priority = Field("background", description="Who goes first when several wait.")
    max_bytes: int = Field(8 << 20, ge=1, le=64 << 20, description="Largest message that is taken.")


SourceDocument = Annotated[
    FolderSource | AudioSource | TensorSource | CameraSource | HttpSource | MqttSource,
    Field(discriminator="kind"),
]
Pulled = FolderSource | AudioSource | TensorSource | CameraSource
"""Sources that are asked for their next item; the model's own process reads them."""
Pushed = HttpSource | MqttSource
"""Sources that bring items when they please; the agent receives them and decodes nothing."""


def is_pushed(source: Any) -> bool:
    """Whether items of this source document come by themselves."""
    return isinstance(source, (HttpSource, MqttSource))
