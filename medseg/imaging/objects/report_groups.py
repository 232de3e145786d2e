"""Measurement groups of a report: one a finding, or one that says that nothing was found (PS3.16 TID 1410, 1411)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects import report_codes as codes
from medseg.imaging.objects.codes import NEURAL_NETWORK, to_coded_concept
from medseg.imaging.objects.evidence import frame_of_reference
from medseg.imaging.objects.image_circle import PIXEL_CENTRE, circle_points
from medseg.imaging.objects.provenance import Provenance
from medseg.imaging.objects.settings import CodedTerm, ResultSettings
from medseg.imaging.objects.unique_ids import unique_id
from medseg.lesion import Finding
from medseg.volume import Grid

if TYPE_CHECKING:
    import pydicom
    from highdicom.sr import (
        ImageRegion,
        ImageRegion3D,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        ReferencedSegment,
        VolumeSurface,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    Group = (
        MeasurementsAndQualitativeEvaluations
        | PlanarROIMeasurementsAndQualitativeEvaluations
        | VolumetricROIMeasurementsAndQualitativeEvaluations
    )

__all__ = ["GroupContext", "empty_group", "finding_group"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupContext:
    """What the groups of a report have in common.

    Parameters
    ----------
    parameters : tuple of str
        Of the algorithm, as ``name=value``.
    segments : mapping of str to (int, str)
        Number and tracking UID of the segments that have a tracking identifier, by it in lower case.
    """

    grid: Grid
    source: SourceSeries
    settings: ResultSettings
    provenance: Provenance
    parameters: tuple[str, ...] = ()
    pixel_spacing_mm: tuple[float, float] | None = None
    uid_seed: str = ""
    segmentation: "pydicom.Dataset | None" = None
    segments: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def is_flat(self) -> bool:
        """Whether sizes are areas: in projections and single slices."""
        return self.grid.unit == "px" or self.grid.shape[0] == 1


def finding_group(number: int, finding: Finding, context: GroupContext) -> "Group":
    """Measurement group of one finding.

    A sphere or circle of the finding's size around its centre is its region: SCOORD3D in the patient's coordinates, or
    SCOORD on a projection. Where a segmentation has the finding as a segment of its own, that is the region, and the
    centre stands beside it.
    """
    import highdicom as hd

    identifier = f"Lesion {number}"
    segment = context.segments.get(identifier.lower())
    common = {
        **_common(identifier, context.settings.term(finding.name), context),
        "measurements": _measured(finding, context),
    }
    if context.is_flat:
        region = _image_circle(finding, context) if context.grid.unit == "px" else _circle_in_space(finding, context)
        return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **common)
    if segment is None:
        surface = _sphere(finding, context)
        return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_volume_surface=surface, **common)
    reference = _segment(segment[0], context)
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=reference, **common)
    group[0].ContentSequence.append(
        hd.sr.Scoord3DContentItem(
            name=to_coded_concept(codes.CENTER),
            graphic_type="POINT",
            graphic_data=_centre(finding)[None],
            frame_of_reference_uid=frame_of_reference(context.source),
            relationship_type="CONTAINS",
        )
    )
    return group


def empty_group(context: GroupContext) -> "Group":
    """Group that says that the algorithm found nothing: a report has at least one (PS3.16 TID 1500, row 6)."""
    import highdicom as hd

    summary = hd.sr.QualitativeEvaluation(
        name=to_coded_concept(codes.PROCESSING_SUMMARY), value=to_coded_concept(codes.NO_FINDINGS)
    )
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        qualitative_evaluations=[summary], **_common("Summary", context.settings.finding, context)
    )


def _common(identifier: str, term: CodedTerm, context: GroupContext) -> dict:
    import highdicom as hd

    first, site = context.source.datasets[0], context.settings.site
    segment = context.segments.get(identifier.lower())
    uid = segment[1] if segment else unique_id(context.uid_seed, str(first.SOPInstanceUID), identifier.lower())
    return {
        "tracking_identifier": hd.sr.TrackingIdentifier(uid=uid, identifier=identifier),
        "finding_type": to_coded_concept(term),
        "finding_sites": None if site is None else [hd.sr.FindingSite(anatomic_location=to_coded_concept(site))],
        "algorithm_id": hd.sr.AlgorithmIdentification(
            name=context.provenance.pipeline,
            version=context.provenance.version,
            parameters=context.parameters or None,
            family=to_coded_concept(NEURAL_NETWORK),
        ),
    }


def _measured(finding: Finding, context: GroupContext) -> "list[Measurement]":
    """Size, diameter and score; in mm where the spacing is known, otherwise in pixels."""
    length, area, scale = codes.MM, codes.SQUARE_MM, 1.0
    if context.grid.unit == "px":
        if context.pixel_spacing_mm is None:
            length, area = codes.PIXELS, codes.PIXELS
        else:
            scale = float(np.prod(context.pixel_spacing_mm)) ** 0.5
    size = (
        (codes.AREA, finding.size * scale**2, area) if context.is_flat else (codes.VOLUME, finding.size, codes.CUBIC_MM)
    )
    values = [(codes.CERTAINTY, finding.score * 100, codes.PERCENT)]
    if finding.diameter > 0:  # 0: unknown
        values = [size, (codes.DIAMETER, finding.diameter * scale, length), *values]
    return [_measurement(name, float(value), unit) for name, value, unit in values]


def _measurement(name: CodedTerm, value: float, unit: CodedTerm) -> "Measurement":
    from highdicom.sr import Measurement

    return Measurement(name=to_coded_concept(name), value=value, unit=to_coded_concept(unit))


def _centre(finding: Finding) -> np.ndarray:
    return np.array([finding.x, finding.y, finding.z], dtype=float)


def _source_series(context: GroupContext):
    from highdicom.sr import SourceSeriesForSegmentation

    return SourceSeriesForSegmentation(str(context.source.datasets[0].SeriesInstanceUID))


def _sphere(finding: Finding, context: GroupContext) -> "VolumeSurface":
    from highdicom.sr import VolumeSurface

    centre, radius = _centre(finding), finding.diameter / 2
    ends = centre + radius * np.repeat(np.eye(3), 2, axis=0) * np.array([[-1], [1]] * 3)  # of the axes a, b, c
    return VolumeSurface(
        graphic_type="ELLIPSOID" if radius > 0 else "POINT",
        graphic_data=ends if radius > 0 else centre[None],
        frame_of_reference_uid=frame_of_reference(context.source),
        source_series=_source_series(context),
    )


def _circle_in_space(finding: Finding, context: GroupContext) -> "ImageRegion3D":
    from highdicom.sr import ImageRegion3D

    centre, radius = _centre(finding), finding.diameter / 2
    axes = context.grid.affine[:3, :2].T / np.linalg.norm(context.grid.affine[:3, :2], axis=0)[:, None]
    ends = centre + radius * np.repeat(axes, 2, axis=0) * np.array([[-1], [1]] * 2)  # of the major and the minor axis
    return ImageRegion3D(
        graphic_type="ELLIPSE" if radius > 0 else "POINT",
        graphic_data=ends if radius > 0 else centre[None],
        frame_of_reference_uid=frame_of_reference(context.source),
    )


def _image_circle(finding: Finding, context: GroupContext) -> "ImageRegion":
    """Circle on a projection; its centre alone where no point of the circle lies on the image."""
    from highdicom.sr import ImageRegion, SourceImageForRegion

    image, centre, radius = context.source.datasets[0], _centre(finding)[:2], finding.diameter / 2
    circle = circle_points(centre, radius, context.grid.shape[1:]) if radius > 0 else None
    limits = np.array(context.grid.shape[:0:-1], dtype=float)
    return ImageRegion(
        graphic_type="POINT" if circle is None else "CIRCLE",
        graphic_data=np.clip(centre[None] + PIXEL_CENTRE, 0, limits) if circle is None else circle,
        source_image=SourceImageForRegion(str(image.SOPClassUID), str(image.SOPInstanceUID)),
    )


def _segment(number: int, context: GroupContext) -> "ReferencedSegment":
    from highdicom.sr import ReferencedSegment

    segmentation = context.segmentation
    if segmentation is None:
        raise ValueError("segments without a segmentation")
    return ReferencedSegment(
        sop_class_uid=str(segmentation.SOPClassUID),
        sop_instance_uid=str(segmentation.SOPInstanceUID),
        segment_number=number,
        source_series=_source_series(context),
    )
