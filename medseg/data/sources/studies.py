"""One case a study, its series chosen as channels by the rules of a pipeline."""

from collections.abc import Sequence
from dataclasses import replace

from medseg.data.channel_settings import ChannelRule
from medseg.data.channels import choose_channels
from medseg.data.manifest import Case
from medseg.data.pseudonyms import Pseudonyms
from medseg.imaging.find import ImageSource

__all__ = ["cases_of_studies"]


def cases_of_studies(
    cases: Sequence[Case], found: Sequence[ImageSource], rules: Sequence[ChannelRule], pseudonyms: Pseudonyms
) -> tuple[list[Case], dict[str, str]]:
    """Join the cases of single series to cases of studies.

    A study keeps the name and the annotations of its first channel, on whose grid the others are brought. Files that
    are no DICOM images stay cases of their own.

    Parameters
    ----------
    cases : sequence of Case
        One a source, in the order of `found`, whose names are absolute.

    Returns
    -------
    (list of Case, dict)
        The cases, and the reason of each study whose channels cannot be chosen, by its pseudonym.
    """
    by_image = {case.files[0]: case for case in cases}
    joined = [case for case, item in zip(cases, found) if item.description is None]
    failures: dict[str, str] = {}
    for study in choose_channels(found, rules):
        first = study.images[0] if study.images else None
        if study.error or first is None:
            failures[pseudonyms.of_series(study.study)] = study.error or f"{rules[0].name} is missing"
        else:
            joined.append(replace(by_image[first], images=study.images))
    return joined, failures
