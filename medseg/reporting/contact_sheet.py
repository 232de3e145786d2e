"""`inspect` as a page: every image of a tree with a picture, what it is, and what is wrong with it."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medseg.drawing.overlay import grey_levels, seen_upright
from medseg.files import write_text
from medseg.reporting.page import picture_source, rendered
from medseg.volume import Volume

__all__ = ["ContactSheet"]

WIDTH = 300  # pixels of a picture
SLICES = (0.25, 0.5, 0.75)  # of the way through a volume


class ContactSheet:
    """Collect pictures while `medseg.imaging.inspect` reads (its `look` is `add`), then write the page."""

    def __init__(self) -> None:
        self._pictures: list[list[str]] = []

    def add(self, entry: dict[str, Any], volume: Volume | None) -> None:
        """Draw one image; a rejected one has no picture."""
        self._pictures.append([] if volume is None else [picture_source(p, width=WIDTH) for p in _pictures(volume)])

    def write(self, path: Path, listing: dict[str, Any]) -> None:
        """Write the page for a listing whose entries were added in its order."""
        cards = list(zip(listing["series"], self._pictures))
        counts = {status: sum(e["status"] == status for e, _ in cards) for status in ("ok", "warning", "rejected")}
        write_text(path, rendered("contact_sheet.html", cards=cards, counts=counts, listing=listing))


def _pictures(volume: Volume) -> list[Image.Image]:
    """Slices of a volume as radiologists see them, in the right proportions; the image itself of a projection."""
    volume = seen_upright(volume)
    depth = volume.grid.shape[0]
    chosen = sorted({min(int(depth * share), depth - 1) for share in SLICES})
    y, x = volume.grid.spacing[1:] if not volume.is_projection else (volume.pixel_spacing_mm or (1.0, 1.0))
    finite = np.nan_to_num(volume.array[0, chosen])
    pictures = [Image.fromarray(levels) for levels in grey_levels(finite, None)]
    height = WIDTH * volume.grid.shape[1] * y / (volume.grid.shape[2] * x)
    size = (WIDTH, round(min(max(height, WIDTH / 4), WIDTH * 2)))
    return [picture.resize(size, Image.Resampling.BICUBIC) for picture in pictures]
