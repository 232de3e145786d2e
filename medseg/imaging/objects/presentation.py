"""Grayscale Softcopy Presentation States: circles around the findings that a viewer lays over the images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.valuerep import format_number_as_ds

from medseg.errors import OutputError
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects.building import building
from medseg.imaging.objects.evidence import study_header
from medseg.imaging.objects.image_circle import PIXEL_CENTRE, circle_points, ellipse_outline
from medseg.imaging.objects.presentation_grey import ImageFrame, image_frames, set_grey_scale
from medseg.imaging.objects.provenance import NOTICE, Provenance
from medseg.imaging.objects.reference_headers import reference_headers, referenced_series, result_header
from medseg.imaging.objects.settings import ResultSettings
from medseg.imaging.objects.template import ResultIdentity, identity, slice_step_mm
from medseg.lesion import Finding
from medseg.volume import Grid

if TYPE_CHECKING:
    from highdicom.pr import GraphicAnnotation, GraphicLayer, GraphicObject, TextObject

__all__ = ["build_presentation"]

LAYER = "MEDSEG"
COLOUR = "yellow"  # of circles and texts, for viewers that use it
LEAST_RADIUS = 2.0  # pixels: a smaller circle cannot be told from a dot
ROUND = 1e-3  # relative difference of pixel height and width up to which a circle is one in pixels
NOTICE_BOX = (0.0, 0.95, 1.0, 1.0)  # along the lower edge of what is displayed
SAME_PLACE_MM = 1e-3  # slices nearer to each other lie at one place: echoes, phases
OFF_SLICE = 0.51  # of the distance between slices: how far a finding may lie beyond the first or last one


def build_presentation(
    findings: Sequence[Finding],
    grid: Grid,
    source: SourceSeries,
    *,
    settings: ResultSettings,
    provenance: Provenance,
    window: tuple[float, float] | None = None,
    result: ResultIdentity = ResultIdentity(series_number=9005),  # noqa: B008 - immutable
) -> pydicom.Dataset:
    """Build a presentation state with a circle and ``number: score`` for each finding on every slice that it cuts.

    A finding is drawn as a sphere of its diameter around its centre; always on the slice nearest to its centre. A
    notice of the research use is on all images, so the state is also valid when nothing was found.

    Parameters
    ----------
    findings : sequence of Finding
        Those to show; they are numbered in this order.
    grid : Grid
        Of the image they were found on. Slices of the source are met by their own place, so they may differ from it.
    source : SourceSeries
        Images to show them on.
    settings : ResultSettings
        Coded terms: a class that has one is named beside the score.
    provenance : Provenance
        The algorithm.
    window : tuple of float, optional
        Grey values of a volume that become black and white. Without it, and on projections, whose values medseg inverts
        where they are stored white to black, the images' own windows hold.
    result : ResultIdentity
        Numbers and UIDs.

    Returns
    -------
    highdicom.pr.GrayscaleSoftcopyPresentationState

    Raises
    ------
    OutputError
        When the source lacks UIDs, is in colour, or a finding lies on none of its images.
    """
    _check(findings, grid, source)
    shown = window if grid.unit == "mm" else None
    labels = [_label(number, finding, settings) for number, finding in enumerate(findings, start=1)]
    with building("presentation state"):
        return _state(findings, labels, grid, source, provenance, shown, result)


def _state(
    findings: Sequence[Finding],
    labels: Sequence[str],
    grid: Grid,
    source: SourceSeries,
    provenance: Provenance,
    window: tuple[float, float] | None,
    result: ResultIdentity,
) -> pydicom.Dataset:
    import highdicom as hd

    header, images = result_header(source), reference_headers(source)
    # a stand-in for all images, whose classes the library may not know; the references to them replace it below
    header.Rows, header.Columns, header.SamplesPerPixel = images[0].Rows, images[0].Columns, 1
    frames = image_frames(source)
    layer = hd.pr.GraphicLayer(LAYER, 1, description=NOTICE, display_color=hd.color.CIELabColor.from_string(COLOUR))
    state = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[header],
        content_label=LAYER,
        graphic_layers=[layer],
        **identity(source, provenance, "findings", given=result, texts=list(labels)),
    )
    state.Laterality = source.datasets[0].get("Laterality") or ""  # type 2C (PS3.3 C.7.3.1)
    state.ReferencedSeriesSequence = referenced_series(images, "ReferencedImageSequence")
    annotations = list(_annotations(findings, labels, grid, frames, header, layer))
    state.GraphicAnnotationSequence = [*annotations, _notice(len(findings), header, layer)]
    set_grey_scale(state, frames, window)
    _set_pixel_shape(state.DisplayedAreaSelectionSequence[0], frames[0], grid)
    return state


def _check(findings: Sequence[Finding], grid: Grid, source: SourceSeries) -> None:
    study_header(source)  # refuses a source without UIDs
    units = {finding.unit for finding in findings} - {grid.unit}
    if units:
        raise OutputError(f"findings in {units.pop()} cannot be shown on an image in {grid.unit}")
    if any(int(image.get("SamplesPerPixel") or 1) != 1 for image in source.datasets):
        raise OutputError("a presentation state cannot show findings on images in colour; save a secondary capture")
    if len({(image.get("Rows"), image.get("Columns")) for image in source.datasets}) > 1:
        raise OutputError("a presentation state refers to images of one size; those of the source differ")
    if grid.unit == "px" and (len(source.datasets) != 1 or int(source.datasets[0].get("NumberOfFrames") or 1) != 1):
        raise OutputError("a presentation state of a projection refers to one image of one frame; there are several")


def _label(number: int, finding: Finding, settings: ResultSettings) -> str:
    """Number and score; the class too where it has a term of its own."""
    label = f"{number}: {finding.score:.2f}"
    return f"{label} {settings.term(finding.name).meaning}" if finding.name in settings.class_terms else label


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """A finding on one frame: centre as an index (x, y) and radii along x and y, in pixels."""

    frame: int
    index: np.ndarray
    radii: np.ndarray


def _annotations(
    findings: Sequence[Finding],
    labels: Sequence[str],
    grid: Grid,
    frames: list[ImageFrame],
    header: pydicom.Dataset,
    layer: "GraphicLayer",
) -> "Iterator[GraphicAnnotation]":
    """One annotation for each frame that findings lie on, in the order of the frames."""
    from highdicom.pr import GraphicAnnotation

    places = None if grid.unit == "px" else _Places.of(frames, slice_step_mm(grid))
    drawn: dict[int, list[tuple[GraphicObject, TextObject]]] = {}
    for number, (finding, label) in enumerate(zip(findings, labels), start=1):
        if places is None:
            cuts = [_Cut(0, np.array([finding.x, finding.y]), np.full(2, finding.diameter / 2))]
        else:
            cuts = list(places.cuts(number, finding))
        for cut in cuts:
            drawn.setdefault(cut.frame, []).append(_objects(cut, label, (header.Rows, header.Columns)))
    for frame in sorted(drawn):
        graphics, texts = zip(*drawn[frame])
        annotation = GraphicAnnotation([header], layer, graphic_objects=list(graphics), text_objects=list(texts))
        annotation.add_new("ReferencedImageSequence", "SQ", [frames[frame].reference()])
        yield annotation


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Places of all frames: positions (n, 3), axes x, y, normal (n, 3, 3), spacing x, y (n, 2), all in mm."""

    positions: np.ndarray
    axes: np.ndarray
    spacing: np.ndarray
    step: float

    @classmethod
    def of(cls, frames: list[ImageFrame], step: float) -> "_Places":
        facts = [(item.frame.position, item.frame.orientation, item.frame.spacing) for item in frames]
        if any(fact is None for place in facts for fact in place):
            raise OutputError("images of the source do not state where they lie, so findings cannot be shown on them")
        positions, orientations, spacing = (np.array(values, dtype=float) for values in zip(*facts))
        axes = orientations.reshape(-1, 2, 3)
        axes = np.concatenate([axes, np.cross(axes[:, 0], axes[:, 1])[:, None]], axis=1)
        gaps = np.diff(np.sort(positions @ axes[0, 2]))
        return cls(positions, axes, spacing[:, ::-1], max([step, *gaps]))

    def cuts(self, number: int, finding: Finding) -> Iterator[_Cut]:
        """Slices that the sphere of a finding is cut by, and the one nearest to its centre."""
        away = np.array([finding.x, finding.y, finding.z]) - self.positions
        along = np.einsum("nij,nj->ni", self.axes, away)  # x, y, normal
        off = np.abs(along[:, 2])
        nearest = float(off.min())
        if nearest > OFF_SLICE * self.step:
            text = f"finding {number} lies {nearest:.1f} mm from the nearest image of the source"
            raise OutputError(f"{text}; is it the series that the findings were made from?")
        radius = finding.diameter / 2
        for frame in np.flatnonzero((off < radius) | (off < nearest + SAME_PLACE_MM)):
            cut_mm = max(radius**2 - float(off[frame]) ** 2, 0.0) ** 0.5
            yield _Cut(int(frame), along[frame, :2] / self.spacing[frame], cut_mm / self.spacing[frame])


def _objects(cut: _Cut, label: str, shape: tuple[int, int]) -> "tuple[GraphicObject, TextObject]":
    from highdicom.pr import GraphicObject, TextObject

    radii = np.maximum(cut.radii, LEAST_RADIUS)
    is_round = abs(radii[0] - radii[1]) <= ROUND * radii.max()
    circle = circle_points(cut.index, float(radii[0]), shape) if is_round else None
    graphic = GraphicObject(
        "POLYLINE" if circle is None else "CIRCLE",
        ellipse_outline(cut.index, radii, shape) if circle is None else circle,
        "PIXEL",
    )
    beside = cut.index + PIXEL_CENTRE + radii * np.array([1, -1]) * np.sqrt(0.5)  # upper right on the circle
    anchor = np.clip(beside, 0, [shape[1], shape[0]])
    return graphic, TextObject(label, "PIXEL", anchor_point=tuple(anchor.tolist()), anchor_point_visible=False)


def _notice(n_findings: int, header: pydicom.Dataset, layer: "GraphicLayer") -> "GraphicAnnotation":
    """Notice on all images, with the number of findings: so that none found can be told from nothing shown."""
    from highdicom.pr import GraphicAnnotation, TextObject

    text = TextObject(
        f"medseg: {n_findings} finding(s). {NOTICE}", "DISPLAY", bounding_box=NOTICE_BOX, text_justification="LEFT"
    )
    annotation = GraphicAnnotation([header], layer, text_objects=[text])
    del annotation.ReferencedImageSequence  # absent: all images (PS3.3 C.10.5)
    return annotation


def _set_pixel_shape(area: pydicom.Dataset, first: ImageFrame, grid: Grid) -> None:
    """Show pixels in their shape: spacing of slices, aspect ratio of projections (PS3.3 C.10.4)."""
    del area.PixelOriginInterpretation  # of tiled images
    if grid.unit == "mm" and first.frame.spacing is not None:
        del area.PresentationPixelAspectRatio
        area.PresentationPixelSpacing = [format_number_as_ds(value) for value in first.frame.spacing]
    elif first.image.get("PixelAspectRatio"):
        area.PresentationPixelAspectRatio = first.image.PixelAspectRatio
