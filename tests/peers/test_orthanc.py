"""The way of a study through a real PACS: stored, retrieved, predicted, results stored back and found."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_sources import write_study
from orthanc_server import PLUGINS, running_orthanc
from pydicom.uid import MRImageStorage

from medseg.cli import app
from medseg.cli.failures import run
from medseg.imaging import read
from medseg.imaging.objects.read_segmentation import read_segmentation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("Orthanc") is None or not list(PLUGINS.glob("*DicomWeb*")),
        reason="Orthanc with its DICOMweb plugin is not installed",
    ),
]
RESULTS = {"seg.dcm": "SEG", "sr.dcm": "SR", "pm.dcm": "OT", "sc.dcm": "OT", "pr.dcm": "PR"}


def send(port: int, files: list[Path]) -> None:
    from pynetdicom import AE

    entity = AE()
    entity.add_requested_context(MRImageStorage)
    association = entity.associate("127.0.0.1", port, ae_title="ORTHANC")
    assert association.is_established
    try:
        assert all(association.send_c_store(pydicom.dcmread(file)).Status == 0 for file in files)
    finally:
        association.release()


def found_modalities(port: int, study_uid: str) -> set[str]:
    """C-FIND at series level."""
    from pynetdicom import AE
    from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find

    entity = AE()
    entity.add_requested_context(Find)
    association = entity.associate("127.0.0.1", port, ae_title="ORTHANC")
    query = pydicom.Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "SERIES", study_uid
    query.SeriesInstanceUID, query.Modality = "", ""
    try:
        return {str(answer.Modality) for _, answer in association.send_c_find(query, Find) if answer is not None}
    finally:
        association.release()


def test_a_study_goes_through_a_pacs(trained, tmp_path):
    study, series = write_study(tmp_path / "source")
    with running_orthanc(tmp_path / "orthanc") as pacs:
        send(pacs.dicom_port, sorted((tmp_path / "source").iterdir()))
        inbox = tmp_path / "inbox"
        inbox.mkdir()
        for number, data in enumerate(pacs.retrieve(f"studies/{study}/series/{series}")):
            (inbox / f"{number}").write_bytes(data)
        assert len(list(inbox.iterdir())) == 4

        output = tmp_path / "out"
        save = "mask,probability,overlay,seg,sr,pm,sc,pr"
        assert run(app, ["predict", "-m", str(trained), "-i", str(inbox), "-o", str(output), "--save", save]) == 0
        (case,) = (output / "cases").iterdir()
        assert {file.name for file in case.glob("*.dcm")} == set(RESULTS)

        pacs.store(sorted(case.glob("*.dcm")))
        answers = pacs.query(f"studies/{study}/series")
        modalities = sorted(answer["00080060"]["Value"][0] for answer in answers)
        assert modalities == sorted(["MR", *RESULTS.values()])
        assert {"MR", "SEG", "SR", "PR"} <= found_modalities(pacs.dicom_port, study)

        (segmentation,) = [a for a in answers if a["00080060"]["Value"][0] == "SEG"]
        uid = segmentation["0020000E"]["Value"][0]
        (data,) = pacs.retrieve(f"studies/{study}/series/{uid}")
    (tmp_path / "back.dcm").write_bytes(data)
    mask = read(case / "mask.nii.gz")
    again, _ = read_segmentation(tmp_path / "back.dcm").mask(grid=mask.grid)
    assert mask.array.any()
    assert np.array_equal(again > 0, mask.array[0] > 0)
