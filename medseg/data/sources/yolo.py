"""YOLO: a text file an image, a line a box in fractions of its size."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from medseg.data.sources.inventory import Inventory, Rows
from medseg.errors import AnnotationError
from medseg.imaging.find import ImageSource, stem_of

__all__ = ["class_names", "read_yolo", "yolo_boxes"]

logger = logging.getLogger(__name__)
LISTS = ("classes.txt", "obj.names")
SETTINGS = ("data.yaml", "data.yml", "dataset.yaml")
# labels are often rounded to two digits: an edge may then lie this far outside of the image, and is put onto its border
ROUNDING = 0.01


def read_yolo(path: Path, size: tuple[int, int], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Read the boxes of one image: lines ``class x_centre y_centre width height``.

    A line with three or more corners ``class x y x y x y …`` becomes the box around them.

    Parameters
    ----------
    size : tuple of int
        Width and height of the image in pixels.
    names : mapping of int to str
        Names of the classes; a class without one is named by its number.

    Returns
    -------
    list of dict
        Half-open boxes in our columns; empty for an empty file: read, no lesion.

    Raises
    ------
    AnnotationError
        When a line is of another kind, or its box is outside of the image.
    """
    rows = []
    for line, text in enumerate(_lines(path), start=1):
        numbers = _numbers(text)
        if numbers is None:
            raise AnnotationError(
                f"{path}, line {line}: its {len(text.split())} values are not a box; expected the five numbers class, "
                "x_centre, y_centre, width, height in fractions of the image (no confidence), or a class and corners; "
                "move the file away if it holds no labels"
            )
        edges = _edges(numbers[1:])
        if min(edges) < -ROUNDING or max(edges) > 1 + ROUNDING or edges[2] <= edges[0] or edges[3] <= edges[1]:
            raise AnnotationError(f"{path}, line {line}: the box is empty or outside of the image")
        pixels = [min(max(edge, 0.0), 1.0) * side for edge, side in zip(edges, (*size, *size))]
        name = names.get(int(numbers[0]), str(int(numbers[0])))
        rows.append({**dict(zip(("x_min", "y_min", "x_max", "y_max"), pixels)), "class": name})
    return rows


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: not readable as text ({error})") from error


def _numbers(text: str) -> list[float] | None:
    """Class and coordinates of a line; None where it is none of a label file."""
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        return None
    box = len(numbers) == 5
    polygon = len(numbers) >= 7 and len(numbers) % 2 == 1
    known = (box or polygon) and numbers[0] >= 0 and numbers[0] == int(numbers[0])
    return numbers if known and all(abs(number) < 1e6 for number in numbers) else None


def _meant_as_labels(lines: list[str]) -> bool:
    """Whether a text is a label file, be it of the wrong kind: a box, or nothing but lines of numbers.

    A class by its name before four numbers or more, and commas between them, count as such too.
    """
    return any(map(_numbers, lines)) or (bool(lines) and all(map(_is_numeric, lines)))


def _is_numeric(text: str) -> bool:
    first, *rest = text.replace(",", " ").split() or [""]
    try:
        [float(part) for part in (rest if len(rest) >= 4 else [first, *rest])]
    except ValueError:
        return False
    return True


def _edges(coordinates: list[float]) -> tuple[float, float, float, float]:
    if len(coordinates) == 4:
        x, y, width, height = coordinates
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    xs, ys = coordinates[::2], coordinates[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def class_names(files: Iterable[Path]) -> dict[int, str]:
    """Names of the classes, of ``classes.txt``, ``obj.names`` or ``names`` in ``data.yaml``; empty without such a file.

    Raises
    ------
    AnnotationError
        When such a file is damaged, or two disagree.
    """
    found: dict[int, str] = {}
    for path in files:
        names: Any = None
        if path.name in LISTS:
            names = _lines(path)
        elif path.name in SETTINGS:
            try:
                content = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError) as error:
                raise AnnotationError(f"{path}: not readable as YAML ({type(error).__name__})") from error
            names = content.get("names") if isinstance(content, dict) else None
        if not names:
            continue
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        mine = {int(number): str(name) for number, name in pairs}
        if found and mine != found:
            raise AnnotationError(f"{path}: names the classes {mine}, another file names them {found}")
        found = mine
    return found


def yolo_boxes(files: Iterable[Path], inventory: Inventory) -> Rows:
    """Boxes of the text files beside the images, or in ``labels`` where the images are in ``images``.

    An image without a text file is unlabelled. Text files are left alone where not one is meant as labels.

    Raises
    ------
    AnnotationError
        When a file is damaged or of another kind, such as with confidences, or its image is a volume.
    """
    files = list(files)
    there = set(files)
    labels: dict[Path, ImageSource] = {}
    for item in inventory.items:
        label = next((path for path in _candidates(item.path) if path in there), None)
        if label is not None:
            labels[label] = item
    lines = {path: _lines(path) for path in labels}
    if not labels or (any(lines.values()) and not any(map(_meant_as_labels, lines.values()))):
        return {}
    names = class_names(files)
    return {item.case_id: read_yolo(path, inventory.size(item), names) for path, item in labels.items()}


def _candidates(image: Path) -> list[Path]:
    name = f"{stem_of(image)}.txt"
    parts = image.parent.parts
    places = [i for i, part in enumerate(parts) if part == "images"]
    beside = [image.parent / name]
    return beside + [Path(*parts[:i], "labels", *parts[i + 1 :], name) for i in reversed(places)]
