"""What is done with a result: documents of actions, and the conditions that decide when each is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from edgestudio.runtime.documents import Document
from edgestudio.runtime.pipeline.live import Broker, SecretName
from edgestudio.runtime.pipeline.postprocess import Fraction, Labels

MAX_ACTIONS = 32


class Condition(Document):
    """When an action is taken; every field that is given must hold."""

    labels: Labels = Field([], description="Only for these labels (or class numbers); left out: any.")
    confidence_above: Fraction | None = Field(None, description="Only at this confidence or above.")
    confidence_below: Fraction | None = Field(None, description="Only below this confidence.")
    is_accepted: bool | None = Field(
        None, description="Only results that are (or are not) above the pipeline's threshold."
    )
    on_change: bool = Field(False, description="Only when the label differs from the one before.")
    at_most_every_s: float = Field(
        0.0, ge=0, le=86_400, description="At least this long between two; 0 for no limit."
    )


class _Action(Document):
    when: Condition = Field(default_factory=Condition, description="When it is taken.")
    queue: int = Field(16, ge=1, le=1000, description="Results that may wait for it; more are dropped.")


class LogAction(_Action):
    """An event in the board's own record, seen by every studio that watches."""

    kind: Literal["log"] = Field(description="An event in the board's record.")
    level: Literal["info", "warning", "error"] = Field("info", description="How loud it is.")
    text: str = Field("", max_length=500, description="What it says; left out: label and confidence.")


class WebhookAction(_Action):
    """A POST of the result as JSON; redirects are not followed."""

    kind: Literal["webhook"] = Field(description="The result by HTTP POST.")
    url: str = Field(min_length=8, max_length=2000, description="An http or https address.")
    secret: SecretName | None = Field(
        None, description="Name of a secret on the board that is sent as a bearer token."
    )
    timeout_ms: float = Field(3000, ge=50, le=60_000, description="After this long it has failed.")

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, url: str) -> str:
        return checked_url(url)


class MqttAction(_Action):
    """The result as JSON on an MQTT topic."""

    kind: Literal["mqtt"] = Field(description="The result on an MQTT topic; needs the extra `fleet`.")
    broker: Broker = Field(default_factory=lambda: Broker(), description="Where to publish.")
    topic: str = Field(min_length=1, max_length=1000, description="The topic, without wildcards.")
    qos: Literal[0, 1, 2] = Field(0, description="How hard the broker tries.")
    is_retained: bool = Field(False, description="Whether the broker keeps the last one for newcomers.")
    timeout_ms: float = Field(3000, ge=50, le=60_000, description="After this long it has failed.")

    @field_validator("topic")
    @classmethod
    def _is_plain(cls, topic: str) -> str:
        if "+" in topic or "#" in topic or "\0" in topic:
            raise ValueError("a topic to publish on has no wildcards")
        return topic


class CommandAction(_Action):
    """A program that the board's owner has allowed by name; the result is its standard input."""

    kind: Literal["command"] = Field(description="A program from the board's own allow-list.")
    name: SecretName = Field(description="Its name in the board's configuration.")


ActionDocument = Annotated[
    LogAction | WebhookAction | MqttAction | CommandAction, Field(discriminator="kind")
]


class Trigger:
    """Decides for one action whether a result is one to act on. `clock` gives seconds that never go back."""

    def __init__(self, condition: Condition, clock: Callable[[], float] = time.monotonic) -> None:
        self._condition = condition
        self._clock = clock
        self._last_at: float | None = None
        self._last_label: str | None = None
        self.suppressed = 0
        """Results that met the condition and came too soon after the last."""

    def holds(self, outcome: Mapping[str, Any]) -> bool:
        """Whether to act on `outcome` (label, index, confidence, is_accepted); counts as taken when it is so."""
        wanted = self._condition
        label, index = outcome.get("label"), outcome.get("index")
        shown = label if label is not None else (None if index is None else str(index))
        changed, self._last_label = shown != self._last_label, shown
        if wanted.labels and shown not in wanted.labels and str(index) not in wanted.labels:
            return False
        confidence = outcome.get("confidence")
        if wanted.confidence_above is not None and (confidence or 0.0) < wanted.confidence_above:
            return False
        if wanted.confidence_below is not None and not (
            confidence is None or confidence < wanted.confidence_below
        ):
            return False
        if wanted.is_accepted is not None and bool(outcome.get("is_accepted", True)) != wanted.is_accepted:
            return False
        if wanted.on_change and not changed:
            return False
        now = self._clock()
        if self._last_at is not None and now - self._last_at < wanted.at_most_every_s:
            self.suppressed += 1
            return False
        self._last_at = now
        return True


def checked_url(url: str) -> str:
    """`url` when it is a plain http(s) address without credentials; ValueError otherwise."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address must begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise ValueError("the address must hold no user name or password; name a secret of the board instead")
    return url


def public_url(url: str) -> str:
    """`url` as it may be logged: without query and fragment, where tokens often are."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
