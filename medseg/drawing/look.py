"""How figures look, and the one way to write them."""

import io
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from medseg.files import write_bytes, write_text

__all__ = ["BLUE", "COLOURS", "DASHES", "GREY", "ORANGE", "SMALL", "new_axes", "save_figure", "svg_text"]

BLUE, ORANGE, GREY = "#1f5fa8", "#c8642b", "#8a8a8a"
# told apart without colour vision by lightness, and by the dashes
COLOURS = (BLUE, ORANGE, "#1b1b1b", "#5ab4ac", "#d9a400")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)))
SMALL = 8  # points, of legends and text in the axes
PNG_DPI = 300


def new_axes(width: float = 4.6, height: float = 3.6) -> tuple[Figure, Any]:
    """A figure of a size in inches with one axis."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def svg_text(figure: Figure) -> str:
    """The figure as an SVG element: the same text for the same figure."""
    stream = io.StringIO()
    with rc_context({"svg.hashsalt": "medseg", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def save_figure(figure: Figure, stem: str | Path) -> list[Path]:
    """Write a figure as ``stem.svg`` and ``stem.png`` (300 dots an inch); the same figure makes the same bytes.

    Parameters
    ----------
    stem : str or Path
        Path without suffix; a dot in its name is kept.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    OutputError
        When the disk is full or the folder cannot be written.
    """
    stem = Path(stem)
    svg, png = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".svg", ".png"))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=PNG_DPI, bbox_inches="tight")
    write_text(svg, svg_text(figure))
    write_bytes(png, stream.getvalue())
    return [svg, png]
