"""What the supervisor asks of signed releases; it never parses signed metadata itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class ReleaseTrust(Protocol):
    """What the supervisor asks of `agent.trust.releases`; it never parses signed metadata itself."""

    def stage(self, role: str, data: bytes, peer: str) -> None:
        """Keep the metadata file `role` for the next `resolve`; TrustError when it is over its size limit."""

    def resolve(self, target: str, now: float, peer: str) -> Mapping[str, Any]:
        """Refresh from what is staged, durably, and return the release manifest of `target`, as a JSON object.

        `now` is the time in Unix seconds that expiry is judged against, `peer` the fingerprint of the studio that
        signs. Raises TrustError.
        """

    def versions(self, peer: str) -> dict[str, int]:
        """Version of each trusted role of `peer`, 0 for what is not there yet."""

    def forget(self, peer: str) -> None:
        """Trust nothing from `peer` any more."""

    def provision(self, root: bytes, peer: str) -> None:
        """Trust `root` as the first root of `peer`, from a file that came with the board."""

    def metadata_age_s(self, now: float) -> float | None:
        """Seconds since the newest signed metadata was made, None when there is none."""

    def newest_signed(self) -> float | None:
        """When the newest trusted metadata was signed (Unix seconds), None when there is none."""
