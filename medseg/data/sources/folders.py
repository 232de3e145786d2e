"""Folders of images: ``imagesTr`` / ``labelsTr``, or any order of folders with annotations among the images."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from medseg.data.channel_settings import ChannelRule
from medseg.data.manifest import Case
from medseg.data.pseudonyms import Pseudonyms
from medseg.data.sources.gather import gather_annotations
from medseg.data.sources.inventory import Inventory
from medseg.data.sources.masks import mask_files
from medseg.data.sources.studies import cases_of_studies
from medseg.data.sources.tables import masks_of_table
from medseg.errors import ManifestError
from medseg.files import files_below
from medseg.imaging import find_inputs
from medseg.imaging.find import earlier_results, stem_of

__all__ = ["from_image_folder", "from_training_folders"]

CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>[0-9]{4})$")  # case_0000.nii.gz, case_0001.nii.gz


def from_training_folders(source: Path, pseudonyms: Pseudonyms) -> list[Case]:
    """``imagesTr/NAME[_0000].EXT`` with ``labelsTr/NAME.EXT``; a patient a case.

    Cases without a file in ``labelsTr`` are unlabelled.
    """
    channels: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in sorted((source / "imagesTr").iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        match = CHANNEL.match(stem_of(path))
        name, channel = (match["case"], int(match["channel"])) if match else (stem_of(path), 0)
        channels[name][channel] = path
    labels = {stem_of(path): path for path in sorted((source / "labelsTr").glob("*")) if not path.name.startswith(".")}
    if not channels:
        raise ManifestError(f"{source / 'imagesTr'}: holds no image")
    return [
        Case(
            case_id=pseudonyms.of_file(name), patient_id=name,
            images=tuple(str(files[c].resolve()) for c in sorted(files)),
            mask=labels[name].resolve() if name in labels else None,
        )
        for name, files in channels.items()
    ]  # fmt: skip


def from_image_folder(
    source: Path, output: Path, pseudonyms: Pseudonyms, rules: Sequence[ChannelRule] = ()
) -> tuple[list[Case], dict[str, str]]:
    """Images in any order of folders, one case an image, with the annotations that lie among them.

    Annotations are matched by what they refer to: DICOM objects by UIDs, masks and text files by name. Boxes and
    points of all formats are written, in our columns, to ``boxes.csv`` and ``points.csv`` in `output`, masks of several
    readers are listed in ``masks.csv``; the source is left as it is. An image that no annotation names is unlabelled.

    Parameters
    ----------
    rules : sequence of ChannelRule
        With them the series of a DICOM study become the channels of one case.

    Returns
    -------
    (list of Case, dict)
        The cases, and the reason of each study whose channels cannot be chosen.

    Raises
    ------
    MedsegError
        When there is no image, or an annotation is damaged.
    """
    source = source.resolve()  # annotations are matched with images by their folders, which a link would tell apart
    files = files_below(source, exclude=output)
    results = earlier_results(files)
    files = [file for file in files if results.isdisjoint(file.parents)]
    masks = mask_files(files, source)
    left_out = [output, *results, *(mask.path for mask in masks), *masks_of_table(source / "masks.csv")]
    found = find_inputs(source, name_series=pseudonyms.of_series, name_file=pseudonyms.of_file, exclude=left_out)
    if not found:
        raise ManifestError(f"{source}: no image found; expected PNG, JPEG, NIfTI, NRRD, MHA or DICOM files")
    gathered = gather_annotations(source, files, Inventory(found), masks, pseudonyms, exclude=left_out)
    cells = gathered.write(output)
    cases = [
        Case(
            case_id=item.case_id, patient_id=item.patient_id or item.case_id, images=(item.name,),
            mask=cells["mask"].get(item.case_id), boxes=cells["boxes"].get(item.case_id),
            points=cells["points"].get(item.case_id), modality=item.modality,
            reader=";".join(sorted(gathered.readers.get(item.case_id, ()))),
        )
        for item in found
    ]  # fmt: skip
    return cases_of_studies(cases, found, rules, pseudonyms) if rules else (cases, {})
