"""`prepare`: what it makes of a source, and that a kill in the middle loses nothing."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dicom_series import write_series

from medseg.data.prepare import prepare
from medseg.errors import MedsegError
from medseg.imaging import read


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_dicom_series_of_one_patient_keep_one_pseudonym_and_names_stay_inside(tmp_path):
    source = tmp_path / "source"
    write_series(source / "mixed", patient_id="HOSP-4711", seed=1)
    write_series(source / "mixed", patient_id="HOSP-4711", seed=2)  # two series in one folder
    write_series(source / "other", patient_id="HOSP-0815", seed=3)
    result = prepare(source, tmp_path / "data", workers=1)
    assert (result.n_cases, result.failures) == (3, {})
    table = rows(tmp_path / "data" / "dataset.csv")
    assert len({row["patient_id"] for row in table}) == 2
    for row in table:
        assert read(tmp_path / "data" / row["image"]).array.shape == (1, 5, 16, 16)
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            text = file.read_text()
            assert "HOSP" not in text
            assert "Doe" not in text


def test_luna_annotations_leave_the_source_as_it_is(tmp_path):
    source = tmp_path / "source"
    uid = write_series(source / "scan", patient_id="1")
    (source / "annotations.csv").write_text(f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{uid},4,5,6,3\n")
    before = sorted(source.rglob("*"))
    prepare(source, tmp_path / "data", workers=1)
    assert sorted(source.rglob("*")) == before
    (row,) = rows(tmp_path / "data" / "dataset.csv")
    assert row["points"] == "points.csv"
    (point,) = rows(tmp_path / "data" / "points.csv")
    assert (point["case_id"], point["x"], point["diameter_mm"]) == (row["case_id"], "4", "3")
    assert row["label"] == "1"


def test_empty_folder_and_another_source_are_one_line(tmp_path, blobs):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MedsegError, match="no image found"):
        prepare(tmp_path / "empty", tmp_path / "data")
    prepare(blobs, tmp_path / "data", workers=1)
    with pytest.raises(MedsegError, match="prepared from another source"):
        prepare(tmp_path / "empty", tmp_path / "data")


@pytest.mark.slow
def test_killed_while_the_cache_is_built_and_run_again(blobs, tmp_path):
    from PIL import Image

    source = tmp_path / "source"
    for kind in ("imagesTr", "labelsTr"):
        (source / kind).mkdir(parents=True)
    for number in range(60):
        for kind, name in (("imagesTr", "image"), ("labelsTr", "mask")):
            with Image.open(blobs / name / f"c{number % 30:02d}.png") as picture:
                picture.resize((700, 700)).save(source / kind / f"n{number:02d}.png")
    command = [
        sys.executable,
        "-c",
        "from medseg.cli import main; main()",
        "prepare",
        str(source),
        "-p",
        "brain_infarct",
    ]
    killed = 0
    for pause in (0.05, 0.3, 0.6):
        process = subprocess.Popen([*command, "-o", str(tmp_path / "data")], stderr=subprocess.DEVNULL)
        cache = tmp_path / "data" / "cache"
        while process.poll() is None and not (cache.is_dir() and any(cache.iterdir())):
            time.sleep(0.005)
        time.sleep(pause)
        if process.poll() is None:
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(signal.SIGKILL)
            killed += 1
            process.wait()
            ends = time.monotonic() + 10
            while any(Path(f"/proc/{worker}").exists() for worker in workers):
                assert time.monotonic() < ends, "a worker outlives its parent"
                time.sleep(0.05)
        process.wait()
    assert killed > 0
    build = [*command, "-o", str(tmp_path / "data")]
    assert subprocess.run(build, stderr=subprocess.DEVNULL).returncode == 0
    resumed = {file.relative_to(cache): file.read_bytes() for file in cache.rglob("*") if file.is_file()}
    shutil.rmtree(cache)  # built anew in one go: the data set, so its pseudonyms and its split, is the same
    assert subprocess.run(build, stderr=subprocess.DEVNULL).returncode == 0
    assert resumed == {file.relative_to(cache): file.read_bytes() for file in cache.rglob("*") if file.is_file()}
    assert len(resumed) > 90  # three files a case; the test part is not cached
