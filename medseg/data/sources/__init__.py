"""Layouts of data sets that `prepare` understands."""

from pathlib import Path

from medseg.data.manifest import Case, load_manifest
from medseg.data.pseudonyms import Pseudonyms
from medseg.data.sources.folders import from_image_folder, from_training_folders
from medseg.data.sources.stacks import from_npz

__all__ = ["find_cases"]


def find_cases(source: Path, output: Path, pseudonyms: Pseudonyms) -> list[Case]:
    """List the cases of a source, whatever its layout.

    Raises
    ------
    ManifestError
        When nothing is there, or it is not what its layout promises.
    """
    if source.suffix == ".npz":
        return from_npz(source, output)
    if source.is_file() or (source / "dataset.csv").is_file():
        return list(load_manifest(source).cases)
    if (source / "imagesTr").is_dir():
        return from_training_folders(source)
    return from_image_folder(source, output, pseudonyms)
