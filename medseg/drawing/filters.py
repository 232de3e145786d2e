"""Weights of a first layer as pictures."""

import numpy as np
from PIL import Image

__all__ = ["FIRST_LAYER", "draw_filters"]

FIRST_LAYER = "first_layer.png"  # in a run folder


def draw_filters(weights: np.ndarray, *, cell: int = 60, columns: int = 8) -> Image.Image:
    """Draw kernels, shape (filter, channel, y, x), as a grid; grey is 0, white the largest magnitude.

    Only the first channel is drawn.
    """
    kernels = np.asarray(weights, dtype=np.float64)[:, 0]
    limit = float(np.abs(kernels).max()) or 1.0
    rows = -(-len(kernels) // columns)
    gap = 4
    canvas = Image.new("L", (columns * (cell + gap) + gap, rows * (cell + gap) + gap), 0)
    for number, kernel in enumerate(kernels):
        levels = np.round((kernel / limit + 1) / 2 * 255).astype(np.uint8)
        row, column = divmod(number, columns)
        tile = Image.fromarray(levels).resize((cell, cell), Image.Resampling.NEAREST)
        canvas.paste(tile, (gap + column * (cell + gap), gap + row * (cell + gap)))
    return canvas
