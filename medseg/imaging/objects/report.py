"""Structured reports: findings as measurements (PS3.16 TID 1500) in a Comprehensive 3D or Comprehensive SR."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pydicom

from medseg.errors import OutputError
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects import report_codes as codes
from medseg.imaging.objects.building import building
from medseg.imaging.objects.codes import to_coded_concept
from medseg.imaging.objects.evidence import study_header
from medseg.imaging.objects.opened import coded_term
from medseg.imaging.objects.provenance import NOTICE, Provenance
from medseg.imaging.objects.reference_headers import reference_headers, referenced_series, result_header
from medseg.imaging.objects.report_groups import GroupContext, empty_group, finding_group
from medseg.imaging.objects.settings import CodedTerm, ResultSettings
from medseg.imaging.objects.template import ResultIdentity, identity
from medseg.imaging.objects.unique_ids import unique_id
from medseg.lesion import Finding
from medseg.volume import Grid

if TYPE_CHECKING:
    from highdicom.sr import ContentSequence, MeasurementReport, ObservationContext

    from medseg.imaging.objects.report_groups import Group

__all__ = ["build_report"]


def build_report(
    findings: Sequence[Finding],
    grid: Grid,
    source: SourceSeries,
    *,
    settings: ResultSettings,
    provenance: Provenance,
    pixel_spacing_mm: tuple[float, float] | None = None,
    segmentation: pydicom.Dataset | None = None,
    operating_point: float | None = None,
    result: ResultIdentity = ResultIdentity(series_number=9003),  # noqa: B008 - immutable
) -> pydicom.Dataset:
    """Build a measurement report: one measurement group a finding, or one that says that nothing was found.

    The report is unverified and preliminary: no person has seen it.

    Parameters
    ----------
    findings : sequence of Finding
        Those to report, the best first; they are numbered in this order.
    grid : Grid
        Of the image they were found on. In mm the report is a Comprehensive 3D SR, in px a Comprehensive SR.
    source : SourceSeries
        Images that they were found on; the report lists all of them.
    settings : ResultSettings
        Coded terms.
    provenance : Provenance
        The algorithm.
    pixel_spacing_mm : tuple of float, optional
        (y, x) of a projection where it is known: sizes are then in mm, otherwise in pixels.
    segmentation : pydicom.Dataset, optional
        Segmentation made with the findings. Where it has a segment with the tracking identifier ``lesion n``, the
        group of finding n refers to it and has its tracking UID.
    operating_point : float, optional
        Score from which findings are reported, named with the algorithm.
    result : ResultIdentity
        Numbers and UIDs.

    Returns
    -------
    highdicom.sr.Comprehensive3DSR or highdicom.sr.ComprehensiveSR

    Raises
    ------
    OutputError
        When the source lacks UIDs, findings and grid differ in unit, or a projection's source is not one image.
    """
    _check(findings, grid, source)
    context = GroupContext(
        grid=grid, source=source, settings=settings, provenance=provenance, pixel_spacing_mm=pixel_spacing_mm,
        parameters=_parameters(provenance, operating_point), uid_seed=result.uid_seed, segmentation=segmentation,
        segments={} if segmentation is None else _tracked(segmentation),
    )  # fmt: skip
    with building("report"):
        groups = [finding_group(number, finding, context) for number, finding in enumerate(findings, start=1)]
        terms = [settings.term(finding.name) for finding in findings]
        return _document(groups or [empty_group(context)], terms, context, result)


def _document(
    groups: "Sequence[Group]", terms: Sequence[CodedTerm], context: GroupContext, result: ResultIdentity
) -> pydicom.Dataset:
    import highdicom as hd

    source, provenance, settings = context.source, context.provenance, context.settings
    images, procedure = reference_headers(source), _procedure(source)
    content = hd.sr.MeasurementReport(
        observation_context=_observer(provenance),
        procedure_reported=to_coded_concept(procedure),
        imaging_measurements=groups,
    )
    _add_library(content, images)
    objects = [*images] if context.segmentation is None else [*images, context.segmentation]
    texts = [term.meaning for term in [*terms, settings.finding, procedure, settings.site] if term is not None]
    names = identity(source, provenance, "report", given=result, texts=texts)
    names.pop("content_description")  # no attribute of reports
    document = (hd.sr.ComprehensiveSR if context.grid.unit == "px" else hd.sr.Comprehensive3DSR)(
        evidence=[result_header(source), *objects],
        content=content,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **names,
    )
    document.CurrentRequestedProcedureEvidenceSequence = [_evidence(source, objects)]
    return document


def _check(findings: Sequence[Finding], grid: Grid, source: SourceSeries) -> None:
    study_header(source)  # refuses a source without UIDs
    units = {finding.unit for finding in findings} - {grid.unit}
    if units:
        raise OutputError(f"findings in {units.pop()} cannot be reported on an image in {grid.unit}")
    frames = int(source.datasets[0].get("NumberOfFrames") or 1)
    if grid.unit == "px" and (len(source.datasets) != 1 or frames != 1):
        raise OutputError("a report on a projection refers to one image of one frame; the source holds several")


def _parameters(provenance: Provenance, operating_point: float | None) -> tuple[str, ...]:
    digest = (f"model_sha256={provenance.model_digest}",) if provenance.model_digest else ()
    return digest if operating_point is None else (*digest, f"operating_point={operating_point:g}")


def _tracked(segmentation: pydicom.Dataset) -> dict[str, tuple[int, str]]:
    return {
        str(segment.TrackingID).lower(): (int(segment.SegmentNumber), str(segment.TrackingUID))
        for segment in segmentation.SegmentSequence
        if segment.get("TrackingID") and segment.get("TrackingUID")
    }


def _observer(provenance: Provenance) -> "ObservationContext":
    import highdicom as hd

    # the same program with the same weights is the same observer
    uid = unique_id("device", provenance.pipeline, provenance.version, provenance.model_digest)
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=uid,
        name="medseg",
        manufacturer_name="medseg",
        model_name=provenance.pipeline,
        serial_number=provenance.model_digest or None,
    )
    observer = hd.sr.ObserverContext(
        observer_type=to_coded_concept(codes.DEVICE), observer_identifying_attributes=device
    )
    return hd.sr.ObservationContext(observer_device_context=observer)


def _procedure(source: SourceSeries) -> CodedTerm:
    """What was done, as the source codes it; otherwise just that it was imaging (CID 100)."""
    return coded_term(source.datasets[0], "ProcedureCodeSequence") or codes.IMAGING_PROCEDURE


def _add_library(content: "MeasurementReport", images: list[pydicom.Dataset]) -> None:
    """List all images before the measurements (PS3.16 TID 1600), and the notice after them."""
    import highdicom as hd

    group = hd.sr.ContainerContentItem(name=to_coded_concept(codes.IMAGE_GROUP), relationship_type="CONTAINS")
    entries = [
        hd.sr.ImageContentItem(
            name=to_coded_concept(codes.SOURCE),
            referenced_sop_class_uid=str(image.SOPClassUID),
            referenced_sop_instance_uid=str(image.SOPInstanceUID),
            relationship_type="CONTAINS",
        )
        for image in images
    ]
    group.ContentSequence = hd.sr.ContentSequence(entries)
    library = hd.sr.ContainerContentItem(
        name=to_coded_concept(codes.IMAGE_LIBRARY), template_id="1600", relationship_type="CONTAINS"
    )
    library.ContentSequence = hd.sr.ContentSequence([group])
    notice = hd.sr.TextContentItem(name=to_coded_concept(codes.COMMENT), value=NOTICE, relationship_type="CONTAINS")
    items: ContentSequence = content[0].ContentSequence
    items.insert(len(items) - 1, library)
    items.append(notice)


def _evidence(source: SourceSeries, objects: list[pydicom.Dataset]) -> pydicom.Dataset:
    """All objects that the report rests on, of the source's study (PS3.3 C.17.2)."""
    item = pydicom.Dataset()
    item.StudyInstanceUID = source.datasets[0].StudyInstanceUID
    item.ReferencedSeriesSequence = referenced_series(objects, "ReferencedSOPSequence")
    return item
