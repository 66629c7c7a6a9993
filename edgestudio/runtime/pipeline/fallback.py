"""Documents of what answers when the model does not, or is not sure: lighter model, last answer, default, remote."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edgestudio.runtime.documents import Document
from edgestudio.runtime.pipeline.actions import checked_url
from edgestudio.runtime.pipeline.live import SecretName
from edgestudio.runtime.pipeline.postprocess import Fraction

ModelName = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9_-])?$")]


class LighterModel(Document):
    """Another signed model on the board answers: one with a slot of its own, or a further file of this release."""

    kind: Literal["model"] = Field(description="Another signed model.")
    model: ModelName | None = Field(None, description="The name of its slot on the board.")
    file: ModelName | None = Field(None, description="Its file in this release; it shares this pipeline.")

    @model_validator(mode="after")
    def _names_one(self) -> LighterModel:
        if (self.model is None) == (self.file is None):
            raise ValueError("name either a model or a file")
        return self


class LastAnswer(Document):
    """The newest answer of the model itself, while it is fresh enough."""

    kind: Literal["last"] = Field(description="The last answer again.")
    max_age_s: float = Field(5.0, gt=0, le=86_400, description="Older ones are not given.")


class DefaultAnswer(Document):
    """A fixed answer, such as 'unknown'."""

    kind: Literal["default"] = Field(description="Always the same answer.")
    label: str = Field("unknown", max_length=200, description="Its label.")
    index: int | None = Field(None, ge=0, description="Its class number, if it has one.")
    confidence: Fraction = Field(0.0, description="Its confidence.")


FallbackStep = Annotated[LighterModel | LastAnswer | DefaultAnswer, Field(discriminator="kind")]


class RemoteModel(Document):
    """A server that speaks the Open Inference Protocol v2 over HTTP. The board's owner must allow it too."""

    url: str = Field(min_length=8, max_length=2000, description="The server's address, before /v2.")
    model: str = Field(
        min_length=1, max_length=200, pattern=r"^[\w.-]+$", description="Its name for the model."
    )
    version: str = Field(
        "", max_length=100, pattern=r"^[\w.-]*$", description="Left out: the server's choice."
    )
    secret: SecretName | None = Field(
        None, description="Name of a secret on the board that is sent as a bearer token."
    )
    timeout_ms: float = Field(2000, ge=50, le=60_000, description="After this long it has failed.")
    max_per_hour: int = Field(60, ge=1, le=1_000_000, description="Questions an hour at most.")
    failures_to_open: int = Field(
        3, ge=1, le=100, description="So many failures in a row, and it is left alone."
    )
    retry_after_s: float = Field(30.0, ge=0.05, le=86_400, description="How long it is left alone.")

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, url: str) -> str:
        return checked_url(url).rstrip("/")


class SecondOpinion(Document):
    """Another model is asked when this one is unsure or overloaded; off until it is switched on."""

    is_on: bool = Field(False, description="Whether anything else is asked at all.")
    confidence_below: Fraction | None = Field(None, description="Ask when the answer is less sure than this.")
    waited_over_ms: float | None = Field(
        None, gt=0, le=600_000, description="Ask instead of the own model when an item has waited longer."
    )
    model: ModelName | None = Field(None, description="Another signed model on the board, asked first.")
    remote: RemoteModel | None = Field(None, description="A server; inputs leave the board.")

    @model_validator(mode="after")
    def _asks_somebody(self) -> SecondOpinion:
        if self.is_on and self.model is None and self.remote is None:
            raise ValueError("name a model or a remote server to ask")
        if self.is_on and self.confidence_below is None and self.waited_over_ms is None:
            raise ValueError("say when to ask: confidence_below or waited_over_ms")
        return self
