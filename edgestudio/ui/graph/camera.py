"""Where one looks at a graph from: zoom and origin, kept so that panning moves by whole pixels of the screen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgestudio.ui.graph.scene import View

SMALLEST_ZOOM, LARGEST_ZOOM = 1e-4, 4.0


@dataclass(frozen=True, slots=True)
class Camera:
    """`left` and `top` of the graph lie in the view's corner; `zoom` is screen pixels per graph pixel."""

    zoom: float = 1.0
    left: float = 0.0
    top: float = 0.0

    def view(self, width: float, height: float) -> View:
        """What a window of this size shows."""
        return View(self.left, self.top, self.left + width / self.zoom, self.top + height / self.zoom)

    def to_graph(self, x: float, y: float) -> tuple[float, float]:
        """A point of the window as a point of the graph."""
        return self.left + x / self.zoom, self.top + y / self.zoom

    def to_window(self, x: float, y: float) -> tuple[float, float]:
        """A point of the graph as a point of the window."""
        return (x - self.left) * self.zoom, (y - self.top) * self.zoom

    def panned(self, dx: float, dy: float) -> Camera:
        """Moved by window pixels: the graph follows the hand."""
        return replace(self, left=self.left - dx / self.zoom, top=self.top - dy / self.zoom)

    def zoomed(self, factor: float, x: float, y: float) -> Camera:
        """Zoomed by a factor; the point under (x, y) of the window stays there."""
        zoom = min(LARGEST_ZOOM, max(SMALLEST_ZOOM, self.zoom * factor))
        at_x, at_y = self.to_graph(x, y)
        return Camera(zoom, at_x - x / zoom, at_y - y / zoom)

    def centred(self, x: float, y: float, width: float, height: float) -> Camera:
        """The point (x, y) of the graph in the middle of a window."""
        return replace(self, left=x - width / self.zoom / 2, top=y - height / self.zoom / 2)

    def fitting(self, area: View, width: float, height: float, *, most: float = 1.0) -> Camera:
        """All of an area in a window, no larger than `most`."""
        across, down = max(1.0, area.right - area.left), max(1.0, area.bottom - area.top)
        zoom = min(LARGEST_ZOOM, max(SMALLEST_ZOOM, min(most, width / across, height / down)))
        middle = ((area.left + area.right) / 2, (area.top + area.bottom) / 2)
        return Camera(zoom).centred(*middle, width, height)

    def kept_near(self, area: View, width: float, height: float, *, empty: float = 0.75) -> Camera:
        """Moved back as far as needed, so that no more than the share `empty` of the window is beside the area."""
        left = _kept(self.left, width / self.zoom, area.left, area.right, empty)
        return replace(self, left=left, top=_kept(self.top, height / self.zoom, area.top, area.bottom, empty))

    def snapped(self, scale: float) -> Camera:
        """With its origin on a whole pixel of a screen of this scale."""
        grid = self.zoom * scale
        return replace(self, left=round(self.left * grid) / grid, top=round(self.top * grid) / grid)


def _kept(at: float, seen: float, low: float, high: float, empty: float) -> float:
    if high - low < seen and empty < 0.5:
        return (low + high - seen) / 2
    return min(max(at, low - seen * empty), high - seen * (1 - empty))
