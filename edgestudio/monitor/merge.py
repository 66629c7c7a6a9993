"""Sums of what windows hold (histograms, classes), kept in blocks so that any span is summed up quickly."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

from edgestudio.wire.errors import InputError
from edgestudio.wire.histogram import ConfidenceHistogram, LatencyHistogram

# Windows per block: 900 windows are then 29 blocks, which merge in the time of one frame.
BLOCK = 32


class Total:
    """Latency histograms by stage, confidence, classes and inferences of some windows together."""

    def __init__(self) -> None:
        self.latency: dict[str, LatencyHistogram] = {}
        self.confidence: ConfidenceHistogram | None = None
        self.classes: Counter[str] = Counter()
        self.inferences = 0

    def add(
        self,
        latency: Mapping[str, LatencyHistogram],
        confidence: ConfidenceHistogram | None,
        classes: Mapping[str, int],
        inferences: int,
    ) -> None:
        """Merge one window, or another total's parts."""
        for stage, histogram in latency.items():
            if stage not in self.latency:
                self.latency[stage] = LatencyHistogram(histogram.scale)
            self.latency[stage].merge(histogram)
        if confidence is not None:
            self._add_confidence(confidence)
        self.classes.update(classes)
        self.inferences += inferences

    def _add_confidence(self, confidence: ConfidenceHistogram) -> None:
        if self.confidence is None:
            self.confidence = ConfidenceHistogram(len(confidence.counts))
        try:
            self.confidence.merge(confidence)
        except InputError:  # another number of bins: the board's software changed; begin anew
            self.confidence = ConfidenceHistogram(len(confidence.counts))
            self.confidence.merge(confidence)


class _Block:
    def __init__(self) -> None:
        self.parts: list[tuple[float, Total]] = []
        self.total = Total()
        self.first_s, self.last_s = float("inf"), float("-inf")

    def add(self, time_s: float, part: Total) -> None:
        self.parts.append((time_s, part))
        _merge(self.total, part)
        self.first_s, self.last_s = min(self.first_s, time_s), max(self.last_s, time_s)


class Blocks:
    """The newest windows, at least `capacity` of them; sums up those since a time."""

    def __init__(self, capacity: int) -> None:
        self._blocks: deque[_Block] = deque(maxlen=-(-capacity // BLOCK) + 1)

    def add(self, time_s: float, part: Total) -> None:
        """Append one window."""
        if not self._blocks or len(self._blocks[-1].parts) >= BLOCK:
            self._blocks.append(_Block())
        self._blocks[-1].add(time_s, part)

    def clear(self) -> None:
        """Forget all."""
        self._blocks.clear()

    def since(self, time_s: float) -> Total:
        """The sum of all windows from `time_s` on."""
        total = Total()
        for block in self._blocks:
            if block.first_s >= time_s:
                _merge(total, block.total)
            elif block.last_s >= time_s:
                for moment, part in block.parts:
                    if moment >= time_s:
                        _merge(total, part)
        return total


def _merge(total: Total, part: Total) -> None:
    total.add(part.latency, part.confidence, part.classes, part.inferences)
