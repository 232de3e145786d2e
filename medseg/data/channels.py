"""Which series of each study are the channels of its case, by the rules of the pipeline."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medseg.data.channel_settings import ChannelRule
from medseg.errors import ImageError
from medseg.imaging.dicom import Series
from medseg.imaging.find import ImageSource
from medseg.volume import Note

__all__ = ["StudyChannels", "choose_channels"]

SHOWN = 20  # series listed in a message
HALF_A_DAY = 12 * 3600.0
# HHMMSS.FFFFFF, in old files HH:MM:SS (PS3.5 6.2, VR TM)
TIME = re.compile(r"(?P<hour>[0-9]{2}):?(?P<minute>[0-9]{2}):?(?P<second>[0-9]{2}(\.[0-9]+)?)?")
PARTS = ("phase", "trigger", "acquisition")  # of a frame's key: what grows with time within one series


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyChannels:
    """The images of one study in the order of the channels, or why they could not be chosen.

    Parameters
    ----------
    study : str
        Study Instance UID; where the files have none, the UID of the series, which then stands alone.
    patient_id, modality : str
        From the header of its first series. The former must leave the program as a pseudonym only.
    images : tuple of str or None
        Names that `medseg.imaging.read` takes. None: the channel is missing and its rule has a fallback, which
        `medseg.data.stacking.stack_channels` applies. Empty where the study failed.
    notes : tuple of Note
        Which series was taken for each channel, and what the user should look at.
    error : str
        Why the study fails; empty where it does not.
    """

    study: str
    patient_id: str
    modality: str
    images: tuple[str | None, ...] = ()
    notes: tuple[Note, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Candidate:
    source: ImageSource
    series: Series


def choose_channels(sources: Iterable[ImageSource], rules: Sequence[ChannelRule]) -> list[StudyChannels]:
    """Choose the channels of every DICOM study among `sources`.

    A study that lacks a channel, or where a rule does not say which series is meant, fails alone. Sources that are
    no DICOM series (files of other formats, damaged files) belong to no study and are left out.

    Parameters
    ----------
    rules : sequence of ChannelRule
        One a channel, at least one.
    """
    studies: dict[tuple[str, str], list[_Candidate]] = {}
    for source in sources:
        if source.description is not None:
            study = source.description.first.study_uid or source.description.series_uid
            studies.setdefault((source.patient_id, study), []).append(_Candidate(source, source.description))
    return [_study(study, candidates, rules) for (_, study), candidates in studies.items()]


def _study(study: str, candidates: list[_Candidate], rules: Sequence[ChannelRule]) -> StudyChannels:
    source = candidates[0].source
    chosen: dict[str, _Candidate | None] = {}
    notes: list[Note] = []
    try:
        for rule in rules:
            chosen[rule.name], note = _choose(rule, candidates)
            notes += [] if note is None else [note]
        notes += _relations(chosen)
    except ImageError as error:
        return StudyChannels(study=study, patient_id=source.patient_id, modality=source.modality, error=str(error))
    first = chosen[rules[0].name]
    return StudyChannels(
        study=study, patient_id=source.patient_id,
        modality=source.modality if first is None else first.source.modality,
        images=tuple(None if item is None else item.source.name for item in chosen.values()), notes=tuple(notes),
    )  # fmt: skip


def _choose(rule: ChannelRule, candidates: list[_Candidate]) -> tuple[_Candidate | None, Note | None]:
    """The series of one channel; None where it is missing and the rule has a fallback."""
    found = [item for item in candidates if _matches(rule, item.series)]
    if rule.phases is not None and found and len(found) != rule.phases:
        raise ImageError(
            f"channel {rule.name}: its rule expects {rule.phases} phases and {len(found)} series match: "
            f"{_listing(found)}",
            code="ambiguous_channel",
        )
    if rule.phase is None and len(found) > 1:
        raise ImageError(
            f"channel {rule.name}: {len(found)} series match: {_listing(found)}; make its rule narrower (description, "
            "exclude, part) or give a phase",
            code="ambiguous_channel",
        )
    number = 1 if rule.phase is None else rule.phase
    if len(found) < abs(number):
        if rule.fallback is not None:
            return None, None
        what = "no series matches" if not found else f"phase {number} is asked for and {len(found)} series match"
        raise ImageError(f"channel {rule.name}: {what}; the study holds {_listing(candidates)}", code="missing_channel")
    ordered = found if len(found) == 1 else _in_order(rule, found)
    item = ordered[number - 1 if number > 0 else number]
    place = f" ({ordered.index(item) + 1} of {len(ordered)} in time)" if len(ordered) > 1 else ""
    return item, Note("channel", f"channel {rule.name}: {_describe(item.series)}{place}")


def _matches(rule: ChannelRule, series: Series) -> bool:
    texts = [series.first.facts.get(name, "") for name in ("SeriesDescription", "ProtocolName", "SequenceName")]

    def found(pattern: str) -> bool:
        return any(re.search(pattern, text, re.IGNORECASE) for text in texts if text)

    return (
        (rule.modality is None or rule.modality == series.first.modality)
        and (rule.description is None or found(rule.description))
        and (rule.exclude is None or not found(rule.exclude))
        and (rule.part is None or re.fullmatch(rule.part, series.part, re.IGNORECASE) is not None)
    )


def _in_order(rule: ChannelRule, found: list[_Candidate]) -> list[_Candidate]:
    """Candidates by acquisition time, then series number, then what tells the parts of one series apart."""
    times = [_time(item.series) for item in found]
    known = [time for time in times if time is not None]
    if known and max(known) - min(known) > HALF_A_DAY:
        raise ImageError(
            f"channel {rule.name}: the acquisition times of {_listing(found)} lie more than 12 hours apart (over "
            "midnight?), so which comes first is not known; choose by description",
            code="ambiguous_channel",
        )
    timed = len(known) == len(found)  # else the numbers alone: some with a time and some without have no order
    keys = [_order(item.series, time if timed and time is not None else 0.0) for item, time in zip(found, times)]
    if len(set(keys)) < len(keys):
        raise ImageError(
            f"channel {rule.name}: the order of {_listing(found)} is not known: acquisition times and series numbers "
            "are missing or the same; choose by description or part",
            code="ambiguous_channel",
        )
    return [found[index] for index in sorted(range(len(found)), key=keys.__getitem__)]


def _order(series: Series, time: float) -> tuple[float, ...]:
    key = series.frames[0].key
    number = _number(series.first.facts.get("SeriesNumber", ""))
    return (time, number, *(_number(key.get(name, "")) for name in PARTS))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _time(series: Series) -> float | None:
    """Earliest acquisition time of a series in seconds; None without any."""
    found = (TIME.match(image.facts.get("AcquisitionTime", "")) for image in series.instances)
    times = [int(m["hour"]) * 3600 + int(m["minute"]) * 60 + float(m["second"] or 0) for m in found if m]
    return min(times, default=None)


def _relations(chosen: dict[str, _Candidate | None]) -> list[Note]:
    """Check the chosen series against each other: each taken once, in one frame of reference."""
    notes: list[Note] = []
    taken: dict[str, str] = {}
    frame = ""
    for name, item in chosen.items():
        if item is None:
            continue
        if item.source.name in taken:
            raise ImageError(
                f"channels {taken[item.source.name]} and {name} would both be {_describe(item.series)}; make their "
                "rules exclude each other",
                code="ambiguous_channel",
            )
        taken[item.source.name] = name
        own = item.series.first.facts.get("FrameOfReferenceUID", "")
        frame = frame or own
        if own and own != frame:  # positions are then not related to each other (PS3.3 C.7.4.1)
            message = f"channel {name}: another frame of reference than the first channel: the patient may have moved"
            notes.append(Note("frame_of_reference", message, warning=True))
    return notes


def _describe(series: Series) -> str:
    """A series by its number: descriptions are free text, in which patients' names have been found."""
    number = series.first.facts.get("SeriesNumber", "")
    part = f" {series.part}" if series.part else ""
    return (f"series {number}" if number else "a series without number") + f"{part} ({series.first.modality})"


def _listing(candidates: Sequence[_Candidate]) -> str:
    more = [f"and {len(candidates) - SHOWN} more"] if len(candidates) > SHOWN else []
    return ", ".join([*(_describe(item.series) for item in candidates[:SHOWN]), *more])
