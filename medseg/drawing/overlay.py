"""Original and result beside each other, lesions numbered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medseg.data.percentiles import percentiles
from medseg.drawing.channel import channel_slabs, shown_channel
from medseg.drawing.settings import DrawingSettings
from medseg.imaging.objects.provenance import NOTICE
from medseg.imaging.slabs import SlabReader, WholeSlabs
from medseg.lesion import Finding, Lesion
from medseg.volume import Grid, Volume

__all__ = ["draw_overlay", "grey_levels", "seen_upright"]

MARGIN = 1.25  # radius of a circle over that of the lesion, so that the lesion stays visible
LARGEST = 4096  # pixels a side that a picture is enlarged to at most
LEAST_RADIUS = 9  # pixels on the picture
SCALE_BARS_MM = (100, 50, 20, 10, 5)
DARKEST, BRIGHTEST = 0.5, 99.5  # percentiles of grey values that are black and white, unless a window is given

Slices = Callable[[int], np.ndarray]  # from the number of a slice to its voxels, shape (y, x)


def grey_levels(image: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Map grey values to uint8 by a window, or by percentiles."""
    low, high = window if window is not None else np.percentile(image, [DARKEST, BRIGHTEST])
    scaled = (image.astype(np.float32) - low) / max(float(high - low), 1e-6)
    return (np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def draw_overlay(
    image: Volume | SlabReader,
    findings: Sequence[Finding],
    *,
    settings: DrawingSettings,
    lesions: Sequence[Lesion] | None = None,
    mask: Slices | None = None,
    reference_mask: Slices | None = None,
) -> Image.Image:
    """Draw the reported findings over an image.

    Parameters
    ----------
    image : Volume or SlabReader
        The input image; its channel `settings.channel` is shown. Of a reader the slices that are drawn are read, and
        without a window all rows twice, in slabs, for their percentiles.
    findings : sequence of Finding
        The findings to draw, the best first; they are numbered in this order.
    lesions : sequence of Lesion, optional
        The reference.
    mask, reference_mask : callable, optional
        Slices of masks, outlined where `settings.mark` is ``contour``.

    Returns
    -------
    PIL.Image.Image
        One row for each slice shown: original and result.
    """
    source = WholeSlabs(image) if isinstance(image, Volume) else image
    flips = _upside(source.grid)
    channel = shown_channel(source, settings.channel)
    window = settings.window if settings.window is not None else _grey_range(source, channel)
    chosen = _slices(source.grid, findings, lesions or (), settings.max_slices)
    # read in rising order, as compressed files want it
    levels = {z: np.flip(grey_levels(source.read(z, z + 1)[channel, 0], window), flips) for z in sorted(chosen)}
    layers = [
        (lambda z, layer=layer: np.flip(layer(z), flips), colour)
        for layer, colour in ((reference_mask, settings.reference_colour), (mask, settings.found_colour))
        if layer is not None and settings.mark == "contour"
    ]
    frame = _Frame(_flipped(source.grid, flips), source.pixel_spacing_mm)
    rows = [_row(frame, levels[z], z, findings, lesions or (), layers, settings) for z in chosen]
    width = max(row.width for row in rows)
    canvas = Image.new("RGB", (width, sum(row.height for row in rows) + 18), "black")
    top = 0
    for row in rows:
        canvas.paste(row, (0, top))
        top += row.height
    ImageDraw.Draw(canvas).text((4, top + 2), NOTICE, fill="#9e9e9e", font=ImageFont.load_default(11))
    return canvas


@dataclass(frozen=True, slots=True)
class _Frame:
    """The geometry of what is drawn."""

    grid: Grid
    pixel_spacing_mm: tuple[float, float] | None

    @property
    def is_projection(self) -> bool:
        return self.grid.unit == "px"


def _grey_range(source: SlabReader, channel: int) -> tuple[float, float]:
    low, high = percentiles(lambda: channel_slabs(source, channel), [DARKEST, BRIGHTEST])
    return low, high


def seen_upright(volume: Volume) -> Volume:
    """Mirror a volume in its plane so that the patient's right is at the left of a picture, front and head up."""
    flips = _upside(volume.grid)
    return replace(volume, array=np.flip(volume.array, flips), grid=_flipped(volume.grid, flips))


def _upside(grid: Grid) -> tuple[int, ...]:
    """Axes, counted from the end, to mirror so that a slice is seen as radiologists see it.

    The patient's right is at the left of the picture, front and head are up.
    """
    if grid.unit == "px":
        return ()
    flips = []
    for axis in (0, 1):  # x, then y of the picture
        direction = grid.affine[:3, axis]
        world = int(np.abs(direction).argmax())
        wanted = -1 if (axis, world) == (1, 2) else 1  # rows go down, so a row that goes to the head is mirrored
        if direction[world] * wanted < 0:
            flips.append(-1 - axis)
    return tuple(flips)


def _flipped(grid: Grid, flips: Sequence[int]) -> Grid:
    """Grid of an array that was mirrored along `flips`: each voxel keeps its place in the patient."""
    affine = grid.affine.copy()
    for axis in flips:
        column = -1 - axis
        affine[:3, 3] += affine[:3, column] * (grid.shape[axis] - 1)
        affine[:3, column] *= -1
    return Grid(grid.shape, affine, grid.unit)


def _slices(grid: Grid, findings: Sequence[Finding], lesions: Sequence[Lesion], limit: int) -> list[int]:
    """Slices of the best findings, then of the lesions; the middle one where there are none."""
    depth = grid.shape[0]
    chosen: list[int] = []
    items: list[Finding | Lesion] = [*findings, *lesions]
    for item in items:
        z = int(np.clip(round(float(grid.to_index(np.array([[item.x, item.y, item.z]]))[0, 2])), 0, depth - 1))
        if z not in chosen:
            chosen.append(z)
    return chosen[:limit] or [depth // 2]


def _row(
    frame: _Frame,
    levels: np.ndarray,
    z: int,
    findings: Sequence[Finding],
    lesions: Sequence[Lesion],
    layers: Sequence[tuple[Slices, str]],
    settings: DrawingSettings,
) -> Image.Image:
    grey = Image.fromarray(levels)
    scale_y, scale_x = _aspect(frame)
    factor = max(1, min(-(-settings.min_size // grey.width), LARGEST // max(grey.size)))
    size = (round(grey.width * factor * scale_x), round(grey.height * factor * scale_y))
    original = grey.resize(size, Image.Resampling.BICUBIC).convert("RGB")
    result = original.copy()
    to_picture = np.array([size[0] / grey.width, size[1] / grey.height])
    for layer, colour in layers:
        _outline(result, layer(z), colour)
    for lesion in lesions:
        _circle(result, frame.grid, lesion, z, to_picture, settings.reference_colour, "", settings)
    for number, finding in enumerate(findings, start=1):
        label = f"{number}: {finding.score:.2f}"
        _circle(result, frame.grid, finding, z, to_picture, settings.found_colour, label, settings)
    for picture in (original, result):
        _annotate(picture, frame, z, to_picture)
    return _joined(original, result, settings.layout)


def _aspect(frame: _Frame) -> tuple[float, float]:
    """Relative height and width of a pixel, the smaller being 1."""
    y, x = frame.grid.spacing[1:] if not frame.is_projection else (frame.pixel_spacing_mm or (1.0, 1.0))
    return y / min(y, x), x / min(y, x)


def _joined(original: Image.Image, result: Image.Image, layout: str) -> Image.Image:
    gap = 4
    if layout == "stacked":
        canvas = Image.new("RGB", (original.width, original.height * 2 + gap), "black")
        canvas.paste(result, (0, original.height + gap))
    else:
        canvas = Image.new("RGB", (original.width * 2 + gap, original.height), "black")
        canvas.paste(result, (original.width + gap, 0))
    canvas.paste(original, (0, 0))
    return canvas


def _circle(
    picture: Image.Image,
    grid: Grid,
    item: Finding | Lesion,
    z: int,
    to_picture: np.ndarray,
    colour: str,
    label: str,
    settings: DrawingSettings,
) -> None:
    index = grid.to_index(np.array([[item.x, item.y, item.z]]))[0]
    spacing = np.array(grid.spacing[::-1])
    radius = item.diameter / 2
    off = abs(index[2] - z) * spacing[2]
    if off > max(radius, spacing[2] / 2):
        return
    if grid.unit == "mm":  # the circle in which this slice cuts the sphere
        radius = float(np.sqrt(max(radius**2 - off**2, 0)))
    centre = (index[:2] + 0.5) * to_picture
    draw = ImageDraw.Draw(picture)
    if settings.mark == "circle":
        r = np.maximum(radius / spacing[:2] * to_picture * MARGIN, LEAST_RADIUS)
        draw.ellipse((*(centre - r), *(centre + r)), outline=colour, width=2)
    else:
        r = np.maximum(radius / spacing[:2] * to_picture, 2)
    if label:
        font = ImageFont.load_default(13)
        width = draw.textlength(label, font=font)
        x = min(float(centre[0] + r[0] * 0.75), picture.width - width - 2)
        y = min(max(float(centre[1] - r[1] - 12), 0.0), picture.height - 16)
        draw.text((x, y), label, fill=colour, font=font, stroke_width=1, stroke_fill="black")


def _outline(picture: Image.Image, layer: np.ndarray, colour: str) -> None:
    """Outline a mask, shape (y, x), two picture pixels wide."""
    if not layer.any():
        return
    from scipy.ndimage import binary_erosion

    large = np.asarray(
        Image.fromarray((layer > 0).astype(np.uint8) * 255).resize(picture.size, Image.Resampling.NEAREST)
    )
    edge = (large > 0) & ~binary_erosion(large > 0, iterations=2)
    rgb = np.asarray(picture).copy()
    rgb[edge] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    picture.paste(Image.fromarray(rgb))


def _annotate(picture: Image.Image, frame: _Frame, z: int, to_picture: np.ndarray) -> None:
    """Orientation letters and slice number of volumes; a scale bar where the spacing is known."""
    draw = ImageDraw.Draw(picture)
    style: dict[str, Any] = {
        "font": ImageFont.load_default(12),
        "stroke_width": 1,
        "stroke_fill": "black",
    }  # legible on any grey
    if not frame.is_projection:
        left, top = _letters(frame.grid)
        draw.text((3, picture.height // 2), left, fill="#bdbdbd", **style)
        draw.text((picture.width // 2, 2), top, fill="#bdbdbd", **style)
        draw.text((3, 2), f"slice {z + 1}/{frame.grid.shape[0]}", fill="#bdbdbd", **style)
    spacing_x = frame.grid.spacing[2] if not frame.is_projection else (frame.pixel_spacing_mm or (0, 0))[1]
    if spacing_x <= 0:
        return
    for length in SCALE_BARS_MM:
        pixels = length / spacing_x * to_picture[0]
        if pixels < picture.width / 3:
            y = picture.height - 8
            draw.line((8, y, 8 + pixels, y), fill="#e0e0e0", width=2)
            draw.text((8, y - 16), f"{length} mm", fill="#e0e0e0", **style)
            return


def _letters(grid: Grid) -> tuple[str, str]:
    """Letters of the patient's side at the left and at the upper edge of a slice."""
    names = (("R", "L"), ("A", "P"), ("F", "H"))  # LPS: the axis grows towards the second
    letters = []
    for axis in (0, 1):
        direction = grid.affine[:3, axis]
        world = int(np.abs(direction).argmax())
        letters.append(names[world][0] if direction[world] > 0 else names[world][1])
    return letters[0], letters[1]
