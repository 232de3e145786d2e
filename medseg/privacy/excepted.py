"""Files that hold patients by design: DICOM results, the file of the pseudonyms, the paths of a data set."""

import csv
import io
from pathlib import Path

from medseg.errors import MedsegError
from medseg.files import read_csv, read_json
from medseg.imaging.quiet import quiet_pydicom

__all__ = ["PSEUDONYMS", "TABLES_OF_PATHS", "exception_of", "without_paths_of_sources"]

PSEUDONYMS = "pseudonyms.json"
TABLES_OF_PATHS = ("dataset.csv", "masks.csv")  # of a data set, which has the file of the pseudonyms beside them
SOURCE_COLUMNS = ("image", "mask", "boxes", "points")  # also image_2 and so on
STORAGE = "1.2.840.10008.5.1.4.1.1."
# the DICOM results by their names, and the SOP classes of each (PS3.4 B.5)
RESULTS = {
    "seg.dcm": ("66.4", "66.7"),
    "sr.dcm": ("88.11", "88.22", "88.33", "88.34"),
    "pm.dcm": ("30",),
    "sc.dcm": ("7", "7.1", "7.2", "7.3", "7.4"),
    "pr.dcm": ("11.1", "11.2", "11.8"),
}


def exception_of(file: Path, *, dicom_results: bool, source_paths: bool) -> str:
    """Why the content of a file is not searched, or not all of it; empty where it is.

    Parameters
    ----------
    dicom_results, source_paths : bool
        Search these as well.
    """
    if not dicom_results and file.name in RESULTS and _storage_class(file) in RESULTS[file.name]:
        return "DICOM result: names its patient for the PACS"
    if not source_paths and file.name == PSEUDONYMS and _is_key(file):
        return "key and sources of the pseudonyms: keep it apart from what is passed on"
    if not source_paths and file.name in TABLES_OF_PATHS and _is_key(file.with_name(PSEUDONYMS)):
        return "paths of the images and masks of a data set; its other columns were searched"
    return ""


def _storage_class(file: Path) -> str:
    import pydicom

    try:
        with quiet_pydicom():
            header = pydicom.dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True)
            uid = str(header.get("SOPClassUID", ""))
    except Exception:  # whatever is wrong with it, it is no result of ours, so it is searched
        return ""
    return uid.removeprefix(STORAGE)


def _is_key(file: Path) -> bool:
    try:
        return set(read_json(file)) == {"schema_version", "key", "sources"}
    except (MedsegError, OSError):
        return False


def without_paths_of_sources(table: Path) -> bytes:
    """Content of a table but for the cells that name images and annotations; all of it where it is no table."""
    try:
        columns, rows = read_csv(table)
    except MedsegError:
        return table.read_bytes()
    kept = [name for name in columns if name.rpartition("_")[0] not in SOURCE_COLUMNS and name not in SOURCE_COLUMNS]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([row[name] for name in kept] for row in rows)
    return text.getvalue().encode()
