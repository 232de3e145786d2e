"""DICOM objects and other formats in one tree: found by what they refer to, and the same lesion from each."""

import csv
import json
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_series import write_series
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from medseg.data.annotations import read_lesions, read_readings
from medseg.data.manifest import load_manifest
from medseg.data.prepare import prepare
from medseg.errors import MedsegError
from medseg.imaging import read, write_mask
from medseg.lesion import Finding

BOX = (4, 5, 1, 10, 9, 4)  # x_min, y_min, z_min, x_max, y_max, z_max: 6 x 4 x 3 voxels of 0.7 x 0.7 x 3 mm
CENTRE = (6.5 * 0.7, 6.5 * 0.7, 2 * 3.0)


def box_mask(box=BOX, shape=(5, 16, 16)):
    mask = np.zeros(shape, np.uint8)
    mask[box[2] : box[5], box[1] : box[4], box[0] : box[3]] = 1
    return mask


def slices_of(folder, uid):
    found = [pydicom.dcmread(path) for path in Path(folder).rglob("*.dcm")]
    return sorted((d for d in found if d.get("SeriesInstanceUID") == uid), key=lambda d: d.ImagePositionPatient[2])


def write_seg(path, images, masks, *, author="", labels=("tumour",)):
    """Write a binary segmentation that a person made; `masks` has one mask a label."""
    for image in images:  # what a segmentation takes over from its source
        image.FrameOfReferenceUID = "2.25.7"
        for name in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "PatientBirthDate", "PatientSex"):
            setattr(image, name, "")
    descriptions = [
        hd.seg.SegmentDescription(
            number, label, codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, label in enumerate(labels, start=1)
    ]  # fmt: skip
    segmentation = hd.seg.Segmentation(
        images, np.stack(masks, axis=-1), "BINARY", descriptions, generate_uid(), 1, generate_uid(), 1,
        "maker", "model", "1", "0", content_creator_name=author or None,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation.save_as(path)


def write_structures(path, images, rois, kinds=None):
    """Write a structure set; `rois` maps a name to boxes, whose contours run round the voxels, `kinds` to its type."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = RTStructureSetStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = images[0].StudyInstanceUID, generate_uid()
    data.Modality = "RTSTRUCT"
    series, study, frame = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    study.RTReferencedSeriesSequence, frame.RTReferencedStudySequence = [series], [study]
    data.ReferencedFrameOfReferenceSequence = [frame]
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, (name, box) in enumerate(rois.items(), start=1):
        roi, drawn = pydicom.Dataset(), pydicom.Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for z in range(box[2], box[5]):
            x0, x1, y0, y1 = box[0] - 0.5, box[3] - 0.5, box[1] - 0.5, box[4] - 0.5
            contour = pydicom.Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
            corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
            contour.ContourData = [f"{v:.4f}" for x, y in corners for v in (x * 0.7, y * 0.7, z * 3.0)]
            drawn.ContourSequence.append(contour)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    data.RTROIObservationsSequence = []
    for number, name in enumerate(rois, start=1):
        observed = pydicom.Dataset()
        observed.ObservationNumber = observed.ReferencedROINumber = number
        observed.RTROIInterpretedType, observed.ROIInterpreter = (kinds or {}).get(name, ""), ""
        data.RTROIObservationsSequence.append(observed)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def voc(objects, size=16):
    """XML of boxes given as half-open ranges from 0, as VOC has them: from 1, the last pixel included."""
    text = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        f"<bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1), difficult in objects
    )
    return f"<annotation><size><width>{size}</width><height>{size}</height><depth>1</depth></size>{text}</annotation>"


def prepared(source, output):
    """Cases of a prepared source by name."""
    result = prepare(source, output, workers=1)
    assert result.failures == {}
    return {case.case_id: case for case in load_manifest(result.path).cases}


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def as_nifti(source, images, volume):
    write_mask(source / f"{images[0].SeriesInstanceUID}_mask.nii.gz", box_mask(), volume.grid)


def as_segmentation(source, images, volume):
    write_seg(source / "elsewhere" / "seg.dcm", images, [box_mask()])


def as_structures(source, images, volume):
    write_structures(source / "elsewhere" / "rs.dcm", images, {"tumour": BOX})


def as_table(source, images, volume):
    x0, y0, z0, x1, y1, z1 = BOX
    head = "case_id,x_min,y_min,x_max,y_max,z_min,z_max,class\n"
    row = f"{images[0].SeriesInstanceUID},{x0},{y0},{x1},{y1},{z0},{z1},tumour\n"
    (source / "boxes.csv").write_text(head + row)


def as_voc(source, images, volume):
    for z in range(BOX[2], BOX[5]):
        box = (BOX[0], BOX[1], BOX[3], BOX[4])
        (source / f"{images[z].SOPInstanceUID}.xml").write_text(voc([("tumour", box, 0)]))


@pytest.mark.parametrize("write", [as_nifti, as_segmentation, as_structures, as_table, as_voc])
def test_a_lesion_of_a_volume_is_the_same_from_every_format(tmp_path, write):
    source = tmp_path / "source"
    uid = write_series(source / "scan", patient_id="1")
    other = write_series(source / "scan", patient_id="2", seed=1)  # in the same folder, but not annotated
    images = slices_of(source, uid)
    write(source, images, read(source / "scan", series_uid=uid))
    cases = prepared(source, tmp_path / "data")
    (case,) = [case for case in cases.values() if case.images[0].endswith(uid)]
    (lesion,) = read_lesions(case, read(case.images[0]).grid)
    assert lesion.box == BOX
    assert (lesion.x, lesion.y, lesion.z) == pytest.approx(CENTRE)
    assert lesion.name == ("" if write is as_nifti else "tumour")  # a mask image does not name what it marks
    # a table stands for all images; any other format leaves what it does not name unlabelled
    (free,) = [case for case in cases.values() if case.images[0].endswith(other)]
    assert free.is_labelled == (write is as_table)


def flat_table(source):
    (source / "boxes.csv").write_text("case_id,x_min,y_min,x_max,y_max,class\na,4,5,10,9,tumour\n")


def flat_mask(source):
    (source / "mask").mkdir()
    Image.fromarray(box_mask((4, 5, 0, 10, 9, 1), (1, 16, 16))[0] * 255).save(source / "mask" / "a.png")


def flat_voc(source):
    (source / "a.xml").write_text(voc([("tumour", (4, 5, 10, 9), 0)]))


def flat_yolo(source):
    (source / "a.txt").write_text(f"1 {7 / 16} {7 / 16} {6 / 16} {4 / 16}\n")
    (source / "classes.txt").write_text("cyst\ntumour\n")


def flat_coco(source):
    content = {
        "images": [{"id": 3, "file_name": "train/a.png", "width": 16, "height": 16}],
        "annotations": [{"id": 1, "image_id": 3, "category_id": 9, "bbox": [4, 5, 6, 4], "iscrowd": 0}],
        "categories": [{"id": 9, "name": "tumour"}],
    }
    (source / "instances.json").write_text(json.dumps(content))


@pytest.mark.parametrize("write", [flat_table, flat_mask, flat_voc, flat_yolo, flat_coco])
def test_a_lesion_of_a_picture_is_the_same_from_every_format(tmp_path, write):
    source = tmp_path / "source"
    source.mkdir()
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(source / "a.png")
    write(source)
    case = prepared(source, tmp_path / "data")["a"]
    (lesion,) = read_lesions(case, read(case.images[0]).grid)
    assert lesion.box == (4, 5, 0, 10, 9, 1)
    assert (lesion.x, lesion.y, lesion.z) == pytest.approx((6.5, 6.5, 0))
    assert lesion.name == ("" if write is flat_mask else "tumour")


def test_segments_are_classes_and_their_authors_readers(tmp_path):
    source = tmp_path / "source"
    uid = write_series(source / "scan", patient_id="1")
    images = slices_of(source, uid)
    small, away = (6, 6, 2, 8, 8, 3), (12, 12, 0, 15, 15, 2)
    write_seg(source / "a.dcm", images, [box_mask(), box_mask(away)], author="Doe^Jane", labels=("tumour", "node"))
    write_seg(source / "b.dcm", images, [box_mask(small)], author="Roe^Richard")
    write_seg(source / "c.dcm", images, [box_mask(small)], author="Poe^Mary")
    (case,) = prepared(source, tmp_path / "data").values()
    grid = read(case.images[0]).grid
    of_readers = read_readings(case, grid)
    assert sorted(len(lesions) for lesions in of_readers.values()) == [1, 1, 2]
    agreed = {(lesion.name, lesion.ignore): lesion.box for lesion in read_lesions(case, grid)}
    assert agreed == {("tumour", False): small, ("node", True): away}  # at least 2 of 3, and 1 of 3
    table = (tmp_path / "data" / "masks.csv").read_text()
    assert not any(name in table for name in ("Doe", "Roe", "Poe"))


def test_a_segment_is_chosen_by_number_or_label(tmp_path):
    uid = write_series(tmp_path / "scan", patient_id="1")
    images, away = slices_of(tmp_path, uid), (12, 12, 0, 15, 15, 2)
    write_seg(tmp_path / "seg.dcm", images, [box_mask(), box_mask(away)], labels=("tumour", "node"))
    write_structures(tmp_path / "rs.dcm", images, {"GTV 1": BOX, "GTV 2": away})
    masks = ["seg.dcm#2", "seg.dcm#node", "rs.dcm#GTV 2", "rs.dcm#2", "seg.dcm#lung"]
    lines = [f"c{number},p,scan,{mask}" for number, mask in enumerate(masks)]
    (tmp_path / "dataset.csv").write_text("\n".join(["case_id,patient_id,image,mask", *lines]) + "\n")
    *good, bad = load_manifest(tmp_path).cases
    grid = read(tmp_path / "scan").grid
    assert [[lesion.box for lesion in read_lesions(case, grid)] for case in good] == [[away]] * 4
    with pytest.raises(MedsegError, match="case c4: the mask holds no 'lung'; it holds 1 'tumour', 2 'node'"):
        read_lesions(bad, grid)


def test_the_body_and_organs_are_no_lesions_unless_they_are_chosen(tmp_path, caplog):
    uid = write_series(tmp_path / "scan", patient_id="1")
    images, away = slices_of(tmp_path, uid), (12, 12, 0, 15, 15, 2)
    rois = {"Doe": (0, 0, 0, 16, 16, 5), "liver": away, "heart": away, "seen": BOX, "": away}
    kinds = {"Doe": "EXTERNAL", "liver": "ORGAN", "heart": "ORGAN", "seen": "GTV"}
    write_structures(tmp_path / "rs.dcm", images, rois, kinds)
    write_structures(tmp_path / "body.dcm", images, {"Doe": BOX}, {"Doe": "EXTERNAL"})
    lines = [f"c{n},p,scan,{mask}" for n, mask in enumerate(["rs.dcm", "rs.dcm#liver", "rs.dcm#2", "body.dcm"])]
    (tmp_path / "dataset.csv").write_text("\n".join(["case_id,patient_id,image,mask", *lines]) + "\n")
    every, by_name, by_number, body = load_manifest(tmp_path).cases
    grid = read(tmp_path / "scan").grid
    assert {lesion.box for lesion in read_lesions(every, grid)} == {BOX, away}  # the target, and what has no type
    assert "left out regions whose kind no lesion has: 1 EXTERNAL, 2 ORGAN" in caplog.text
    assert "Doe" not in caplog.text
    assert [lesion.box for case in (by_name, by_number) for lesion in read_lesions(case, grid)] == [away] * 2
    with pytest.raises(MedsegError, match="case c3: none of the regions is a lesion by its kind: 1 EXTERNAL.*choose"):
        read_lesions(body, grid)


def test_an_empty_object_means_read_without_lesion(tmp_path):
    source = tmp_path / "source"
    uid = write_series(source / "scan", patient_id="1")
    write_structures(source / "rs.dcm", slices_of(source, uid), {"tumour": (0, 0, 0, 0, 0, 0)})  # named, never drawn
    write_series(source / "other", patient_id="2", seed=1)
    cases = prepared(source, tmp_path / "data")
    labels = {case.images[0].endswith(uid): case.label for case in cases.values()}
    assert labels == {True: 0, False: None}


def test_an_object_of_another_grid_fails_its_case(tmp_path):
    source = tmp_path / "source"
    uid = write_series(source / "scan", patient_id="1")
    good = write_series(source / "good", patient_id="2", seed=1)
    images = slices_of(source, uid)
    for image in images:
        image.ImagePositionPatient = [0.4, 0, image.ImagePositionPatient[2]]  # drawn on a series that was moved
    write_seg(source / "seg.dcm", images, [box_mask()])
    result = prepare(source, tmp_path / "data", workers=1)
    (reason,) = result.failures.values()
    assert "off the image's grid" in reason
    (case,) = load_manifest(result.path).cases
    assert case.images[0].endswith(good)


def test_objects_of_images_that_are_not_here_are_reported(tmp_path, caplog):
    source = tmp_path / "source"
    uid = write_series(source / "scan", patient_id="1")
    gone = write_series(tmp_path / "gone", patient_id="2", seed=1)
    write_seg(source / "scan" / "seg.dcm", slices_of(tmp_path / "gone", gone), [box_mask()])  # in the wrong folder
    (case,) = prepared(source, tmp_path / "data").values()
    assert case.images[0].endswith(uid)
    assert not case.is_labelled
    assert "1 object(s) refer to no image that is here" in caplog.text


def test_slices_are_told_by_position_and_not_by_the_order_of_files(tmp_path):
    source = tmp_path / "source"
    uid = write_series(source, patient_id="1")
    images = slices_of(source, uid)
    for z, image in enumerate(images):
        Path(image.filename).rename(source / f"{(z + 2) % 5}.dcm")
    (source / f"{images[1].SOPInstanceUID}.xml").write_text(voc([("tumour", (4, 5, 10, 9), 0)]))
    (case,) = prepared(source, tmp_path / "data").values()
    (lesion,) = read_lesions(case, read(case.images[0]).grid)
    assert lesion.box == (4, 5, 1, 10, 9, 2)
    assert lesion.z == pytest.approx(3.0)


def test_an_object_belongs_to_the_echo_whose_instances_it_names(tmp_path):
    source = tmp_path / "source"
    uid = write_series(source, patient_id="1")
    echoes = []
    for image in slices_of(source, uid):
        image.EchoNumbers = 1
        image.save_as(image.filename)
        image.EchoNumbers, image.SOPInstanceUID = 2, generate_uid()
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.save_as(f"{image.filename}.echo2.dcm")
        echoes.append(image)
    write_seg(source / "seg.dcm", echoes, [box_mask()])
    cases = prepared(source, tmp_path / "data").values()
    assert {case.images[0].rpartition("/")[2]: case.is_labelled for case in cases} == {"echo-1": False, "echo-2": True}


def test_boxes_of_real_slices_become_one_lesion(tmp_path, real_data):
    (case,) = prepared(real_data / "lung_pet_ct_dx", tmp_path / "data").values()
    (row,) = rows(tmp_path / "data" / "boxes.csv")
    assert (row["class"], row["case_id"]) == ("A", case.case_id)
    depth = int(row["z_max"]) - int(row["z_min"])
    assert depth == len(list((real_data / "lung_pet_ct_dx").rglob("*.xml"))) == 10
    volume = read(case.images[0])
    (lesion,) = read_lesions(case, volume.grid)
    # the corner slice of the box, found again by the UID that names its XML
    images = slices_of(real_data / "lung_pet_ct_dx", case.images[0].rpartition("#")[2])
    annotated = [
        i for i, image in enumerate(images) if list((real_data / "lung_pet_ct_dx").rglob(f"{image.SOPInstanceUID}.xml"))
    ]
    assert (annotated[0], annotated[-1] + 1) == (lesion.box[2], lesion.box[5])
    heights = [float(image.ImagePositionPatient[2]) for image in images]
    assert lesion.z == pytest.approx((heights[annotated[0]] + heights[annotated[-1]]) / 2, abs=0.01)


def write_report(path, images, findings, grid, **more):
    """Write a measurement report; of no findings where nothing was found."""
    from medseg.imaging.dicom.source import SourceSeries
    from medseg.imaging.objects.provenance import Provenance
    from medseg.imaging.objects.report import build_report
    from medseg.imaging.objects.settings import ResultSettings

    about = {"settings": ResultSettings(), "provenance": Provenance("p", "1")}
    document = build_report(findings, grid, SourceSeries(tuple(images)), **about, **more)
    path.parent.mkdir(parents=True, exist_ok=True)
    document.save_as(path, enforce_file_format=True)


def finding(grid, centre, diameter):
    size = np.pi / 6 * diameter**3 if grid.unit == "mm" else np.pi / 4 * diameter**2
    return Finding(*centre, grid.unit, size, diameter, 0.9, "", BOX)


def test_lesions_of_a_report_become_points_of_the_images_it_refers_to(tmp_path, caplog):
    source = tmp_path / "source"
    uids = [write_series(source / "scan", patient_id=f"{number}", seed=number) for number in range(3)]
    grid = read(source / "scan", series_uid=uids[0]).grid
    one, two = (slices_of(source, uid) for uid in uids[:2])
    write_report(source / "a.dcm", one, [finding(grid, CENTRE, 4.0)], grid)
    write_report(source / "b.dcm", two, [], grid)
    cases = prepared(source, tmp_path / "data")
    labels = {case.images[0].rpartition("#")[2]: case.label for case in cases.values()}
    assert labels == {uids[0]: 1, uids[1]: 0, uids[2]: None}
    (case,) = [case for case in cases.values() if case.label == 1]
    (lesion,) = read_lesions(case, grid)
    assert (lesion.x, lesion.y, lesion.z, lesion.diameter) == pytest.approx((*CENTRE, 4.0), abs=1e-3)
    assert "2 report(s) were not verified by a person" in caplog.text


def write_radiograph(path, patient_id):
    """Write a projection of 16 x 16 pixels without pixel spacing; return its header."""
    uid = write_series(path.parent, patient_id=patient_id, n_slices=1)
    (image,) = slices_of(path.parent, uid)
    file = Path(image.filename)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    image.Modality = "CR"
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(image, name)
    image.save_as(path)
    file.unlink()
    return image


def test_a_report_on_a_radiograph_is_in_its_pixels(tmp_path):
    source = tmp_path / "source"
    image = write_radiograph(source / "x.dcm", "1")
    grid = read(source / "x.dcm").grid
    write_report(source / "elsewhere" / "a.dcm", [image], [finding(grid, (6.0, 7.0, 0.0), 4.0)], grid)
    (case,) = prepared(source, tmp_path / "data").values()
    (lesion,) = read_lesions(case, grid)
    assert (lesion.x, lesion.y, lesion.z, lesion.diameter, lesion.unit) == pytest.approx((6, 7, 0, 4, "px"), abs=1e-3)
    (row,) = rows(tmp_path / "data" / "points.csv")
    assert row["diameter_px"]
    assert not row["diameter_mm"]


def test_two_readers_of_reports_of_whom_one_found_nothing(tmp_path):
    source = tmp_path / "source"
    uid = write_series(source / "scan", patient_id="1")
    images, grid = slices_of(source, uid), read(source / "scan").grid
    write_report(source / "a.dcm", images, [finding(grid, CENTRE, 4.0)], grid)
    write_report(source / "b.dcm", images, [], grid)
    write_report(source / "c.dcm", images, [], grid)
    (case,) = prepared(source, tmp_path / "data").values()
    assert len(case.reader.split(";")) == 3
    assert [lesion.ignore for lesion in read_lesions(case, grid)] == [True]


@pytest.mark.parametrize("found", [True, False])
def test_an_earlier_study_that_a_report_compares_with_was_not_read_by_it(tmp_path, found):
    source = tmp_path / "source"
    now, before = (write_series(source / "scan", patient_id="1", seed=seed) for seed in (1, 2))
    grid = read(source / "scan", series_uid=now).grid
    findings = [finding(grid, CENTRE, 4.0)] if found else []
    write_report(source / "a.dcm", slices_of(source, now), findings, grid)
    report, earlier = pydicom.dcmread(source / "a.dcm"), slices_of(source, before)
    other = pydicom.Dataset.from_json(report.CurrentRequestedProcedureEvidenceSequence[0].to_json())
    other.StudyInstanceUID = earlier[0].StudyInstanceUID
    other.ReferencedSeriesSequence[0].SeriesInstanceUID = before
    for reference, image in zip(other.ReferencedSeriesSequence[0].ReferencedSOPSequence, earlier):
        reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
    report.PertinentOtherEvidenceSequence = [other]
    other_space = generate_uid()
    for image in earlier:  # of another visit, so of another frame of reference
        image.FrameOfReferenceUID = other_space
        image.save_as(image.filename)
    for image in slices_of(source, now):
        image.FrameOfReferenceUID = _space_of(report)
        image.save_as(image.filename)
    report.save_as(source / "a.dcm")
    cases = prepared(source, tmp_path / "data").values()
    labels = {case.images[0].rpartition("#")[2]: case.label for case in cases}
    assert labels == {now: int(found), before: None}


def _space_of(report):
    stated = (element.value for element in report.iterall() if element.keyword == "ReferencedFrameOfReferenceUID")
    return next(stated, "2.25.7")  # a report of nothing names no place


def test_readers_of_reports_do_not_vote_on_masks(tmp_path):
    source = tmp_path / "source"
    uid = write_series(source / "scan", patient_id="1")
    grid, away = read(source / "scan").grid, (12, 12, 0, 15, 15, 2)
    write_report(source / "a.dcm", slices_of(source, uid), [], grid)
    write_seg(source / "b.dcm", slices_of(source, uid), [box_mask()], author="Roe^Richard")
    write_seg(source / "c.dcm", slices_of(source, uid), [box_mask(away)], author="Poe^Mary")
    (case,) = prepared(source, tmp_path / "data").values()
    assert [lesion.ignore for lesion in read_lesions(case, grid)] == [False, False]  # one of two, not of three


def test_what_is_no_measurement_report_or_of_other_images_is_left_alone(tmp_path, caplog):
    source = tmp_path / "source"
    uid = write_series(source / "scan", patient_id="1")
    gone = write_series(tmp_path / "gone", patient_id="2", seed=1)
    grid = read(source / "scan").grid
    write_report(source / "a.dcm", slices_of(tmp_path / "gone", gone), [finding(grid, CENTRE, 4.0)], grid)
    write_report(source / "b.dcm", slices_of(source, uid), [finding(grid, CENTRE, 4.0)], grid)
    text = pydicom.dcmread(source / "b.dcm")
    text.ContentTemplateSequence[0].TemplateIdentifier = "2000"
    text.save_as(source / "b.dcm")
    (case,) = prepared(source, tmp_path / "data").values()
    assert not case.is_labelled
    assert "1 report(s) refer to no image that is here" in caplog.text
