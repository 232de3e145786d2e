"""Draw the diagram of docs/parallel.md.

python scripts/draw_parallel.py [-o docs/parallel.svg]
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

COLOURS = ("#3b6ea5", "#d08c3c", "#4f9a6b", "#9a5a8c")  # one a rank
HALO = 0.15


def level(axes: Axes, x: float, rows: list[int], width: float, label: str, *, unit: float) -> None:
    """Draw one level of the network: its rows, coloured by the rank that has them."""
    total = sum(rows)
    top = total * unit / 2
    for rank, n in enumerate(rows):
        if n:
            height = n * unit
            axes.add_patch(
                Rectangle((x, top - height), width, height, facecolor=COLOURS[rank], edgecolor="white", lw=1.5)
            )
            top -= height
    axes.text(x + width / 2, -total * unit / 2 - 0.25, label, ha="center", va="top", fontsize=8, color="#333333")


def halos(axes: Axes, x: float, rows: list[int], width: float, unit: float) -> None:
    """Mark the rows that neighbours send each other."""
    edge = sum(rows) * unit / 2
    for rank, n in enumerate(rows[:-1]):
        edge -= n * unit
        for below, colour in ((True, COLOURS[rank]), (False, COLOURS[rank + 1])):
            low = edge - HALO if below else edge
            axes.add_patch(
                Rectangle((x, low), width, HALO, facecolor=colour, alpha=0.75, hatch="////", edgecolor="white", lw=0)
            )
        axes.annotate("", (x + width + 0.16, edge - 0.24), (x + width + 0.16, edge + 0.24),
                      arrowprops={"arrowstyle": "<->", "color": "#333333", "lw": 1.2})  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/parallel.svg"))
    arguments = parser.parse_args()
    figure, axes = plt.subplots(figsize=(10, 4.6))
    unit = 0.25
    levels = [(4, "volume,\nrows by rank"), (4, "16 rows"), (2, "8 rows"), (1, "4 rows"), (0, "2 rows: on\ntwo ranks"),
              (1, "4 rows"), (2, "8 rows"), (4, "16 rows")]  # fmt: skip
    lefts = (0.0, 2.2, 4.1, 5.8, 7.4, 9.0, 10.7, 12.5)
    places = [(x, [n] * 4 if n else [1, 0, 1, 0], 0.6 + 0.075 * n) for x, (n, _) in zip(lefts, levels)]
    labels = [label for _, label in levels]
    for (x, rows, width), label in zip(places, labels):
        level(axes, x, rows, width, label, unit=unit)
    for x, rows, width in (places[1], places[2], places[6], places[7]):
        halos(axes, x, rows, width, unit)
    for left, right, height in ((1, 7, 2.35), (2, 6, 1.45)):
        start, end = places[left][0] + places[left][2] / 2, places[right][0] + places[right][2] / 2
        axes.plot(
            [start, start, end, end], [height - 0.2, height, height, height - 0.2], color="#777777", lw=1, ls="--"
        )
        axes.text((start + end) / 2, height + 0.05, "skip connection: the same ranks have the same rows, no message",
                  ha="center", va="bottom", fontsize=8, color="#555555")  # fmt: skip
    note = (
        "Hatched: halos, the few rows that neighbours send each other before a convolution. "
        "Mean and variance of a normalisation: one small message for all ranks."
    )
    axes.text(-0.4, -3.15, note, fontsize=8, color="#333333")
    axes.set_xlim(-0.5, 13.9)
    axes.set_ylim(-3.4, 2.9)
    axes.axis("off")
    figure.savefig(arguments.output, bbox_inches="tight", metadata={"Date": None})
    print(arguments.output)


if __name__ == "__main__":
    main()
