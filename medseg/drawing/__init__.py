"""Pictures: overlays, figures, filters."""

from medseg.drawing.filters import draw_filters
from medseg.drawing.overlay import draw_overlay

__all__ = ["draw_filters", "draw_overlay"]
