"""Where telemetry may travel through an MQTT broker, as a board's owner or a studio's user writes it down."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from pydantic import Field, model_validator

from edgestudio.runtime.documents import Document
from edgestudio.wire.errors import RecipeError

MAX_SECRET_BYTES = 64 << 10


class SecretFile(Document):
    """A secret in a file of its own, such as a systemd credential."""

    file: str = Field(min_length=1, max_length=4096, description="Its path.")

    def read(self) -> str:
        """The secret; OSError or UnicodeDecodeError when it cannot be read."""
        with Path(self.file).open("rb") as file:
            return file.read(MAX_SECRET_BYTES).decode().strip()


class Uplink(Document):
    """A broker, and who we are there. Records are signed; whoever runs the broker can read them."""

    host: str = Field(min_length=1, max_length=255, description="The broker's name or address.")
    port: int = Field(8883, ge=1, le=65535, description="The broker's port.")
    is_tls: bool = Field(True, description="Off only for a broker on this machine.")
    username: str | None = Field(None, max_length=200, description="Left out: anonymous, or by certificate.")
    password: str | SecretFile | None = Field(None, description="The password, or the file that holds it.")
    ca_file: str | None = Field(
        None, description="Who signs the broker's certificate; left out: the system's."
    )
    certificate_file: str | None = Field(
        None, description="Our certificate (PEM) for brokers that ask for one."
    )
    key_file: str | None = Field(None, description="The key of that certificate.")
    fleet: str = Field(
        "home", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Keeps boards of one broker apart."
    )
    every_s: float = Field(
        5.0, ge=0.05, le=3600, description="How long a board gathers records for one message."
    )

    @model_validator(mode="after")
    def _is_private(self) -> Uplink:
        if not self.is_tls and not is_loopback(self.host):
            raise ValueError("a broker on another machine is reached with TLS only")
        if (self.key_file is None) != (self.certificate_file is None):
            raise ValueError("certificate_file and key_file belong together")
        return self

    def secret(self) -> str | None:
        """The password; RecipeError `no-secret` when its file cannot be read."""
        if not isinstance(self.password, SecretFile):
            return self.password
        try:
            return self.password.read()
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError("the broker's password cannot be read", code="no-secret") from error

    def tls_context(self) -> ssl.SSLContext | None:
        """How the broker is checked and we are known to it; RecipeError `bad-certificate` for unusable files."""
        if not self.is_tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.ca_file is not None:
                # Python 3.13 refuses authorities without a key usage, as OpenSSL makes them by default and every
                # earlier Python takes them; signatures, names and dates are checked all the same.
                context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ValueError) as error:
            raise RecipeError(
                f"the certificates for the broker cannot be used: {error}",
                hint="ca_file, certificate_file and key_file must be PEM files that this user may read.",
                code="bad-certificate",
            ) from error
        return context


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
