"""Layouts of data sets that `prepare` understands."""

from collections.abc import Sequence
from pathlib import Path

from medseg.data.channel_settings import ChannelRule
from medseg.data.manifest import Case, load_manifest
from medseg.data.pseudonyms import Pseudonyms
from medseg.data.sources.folders import from_image_folder, from_training_folders
from medseg.data.sources.stacks import from_npz

__all__ = ["find_cases"]


def find_cases(
    source: Path, output: Path, pseudonyms: Pseudonyms, rules: Sequence[ChannelRule] = ()
) -> tuple[list[Case], dict[str, str]]:
    """List the cases of a source, whatever its layout.

    Parameters
    ----------
    rules : sequence of ChannelRule
        Which series of a DICOM study are the channels of its case; without, each series is a case.

    Returns
    -------
    (list of Case, dict)
        The cases, and the reason of each study that could not become one.

    Raises
    ------
    ManifestError
        When nothing is there, or it is not what its layout promises.
    """
    if source.suffix == ".npz":
        return from_npz(source, output), {}
    if source.is_file() or (source / "dataset.csv").is_file():
        return list(load_manifest(source).cases), {}
    if (source / "imagesTr").is_dir():
        return from_training_folders(source, pseudonyms), {}
    return from_image_folder(source, output, pseudonyms, rules)
