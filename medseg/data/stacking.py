"""The images of one case as the channels of one volume, on the grid of the first."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medseg.data.channel_settings import (
    ZEROS,
    ChannelRule,
    MissingChannel,
    Registration,
    channel_names,
    fallback_of,
)
from medseg.data.registration import RigidMotion, register_rigid
from medseg.data.resample import resample
from medseg.data.settings import InputSettings
from medseg.errors import GeometryError, ImageError
from medseg.imaging import read
from medseg.volume import Grid, Note, Volume

__all__ = ["channel_notes", "missing_note", "read_channels", "stack_as_asked", "stack_channels"]

LEAST_COVERED = 0.5  # of the first image by another channel: below it they show different things
WELL_COVERED = 0.95  # below it the user is told
BACKGROUND = 0.5  # percentile of an image that stands for what lies beyond it: air, or the empty border
LATTICE = 64  # points along each axis at which the cover is looked at


def read_channels(images: Sequence[str | None], case_id: str, settings: InputSettings) -> Volume:
    """Read the images of one case and stack them as a pipeline asks.

    Parameters
    ----------
    images : sequence of str or None
        As `medseg.imaging.read` takes them; None for a channel that is missing.

    Raises
    ------
    ImageError
        When one cannot be read, or they do not fit together: see `stack_channels`.
    """
    volumes = [None if image is None else read(image) for image in images]
    return stack_as_asked(volumes, case_id, settings)


def stack_as_asked(volumes: Sequence[Volume | None], case_id: str, settings: InputSettings) -> Volume:
    """Stack the images of one case as the settings of a pipeline ask: see `stack_channels`."""
    return stack_channels(
        volumes, case_id, rules=settings.series, registration=settings.registration,
        missing_channel=settings.missing_channel,
    )  # fmt: skip


def stack_channels(
    volumes: Sequence[Volume | None],
    case_id: str,
    *,
    rules: Sequence[ChannelRule] = (),
    registration: Registration = "none",
    missing_channel: MissingChannel = "refuse",
) -> Volume:
    """Stack the images of one case as channels on the grid of the first.

    Where the first image reaches beyond another one, the other's background (its `BACKGROUND` percentile) stands.

    Parameters
    ----------
    volumes : sequence of Volume or None
        In the order of the channels. None: missing, and the rule's fallback takes its place.
    rules : sequence of ChannelRule
        One a channel: the names of the channels, and what replaces a missing one.
    registration : {"none", "rigid"}
        Move each further image onto the first before it is resampled.
    missing_channel : {"refuse", "zero"}
        What becomes of a further channel that is missing where its rule has no fallback; zero: zeros stand for it.

    Returns
    -------
    Volume
        Its notes hold those of all images, and what was done here: ``registered``, ``registration_refused``,
        ``channel_missing``, ``channel_covers_part``.

    Raises
    ------
    ImageError
        When a channel is missing and has no fallback, or an image is all zero.
    GeometryError
        When a volume is mixed with a projection, projections differ in size, an image covers less than half of the
        first, or registration is asked for projections.
    """
    names = channel_names(rules, len(volumes))
    if len(names) != len(volumes):
        raise ImageError(
            f"case {case_id}: the pipeline takes {len(names)} channels ({', '.join(names)}), the case names "
            f"{len(volumes)} image(s)"
        )
    first = volumes[0]
    if first is None:
        raise ImageError(f"case {case_id}: {names[0]} is missing, on whose grid the others lie", code="missing_channel")
    if len(volumes) == 1:
        return first  # without a copy
    arrays = {names[0]: first.array}
    notes = list(first.notes)
    for number, (name, volume) in enumerate(zip(names[1:], volumes[1:]), start=1):
        if volume is None:
            fallback = fallback_of(rules, number, missing_channel)
            arrays[name] = _instead(case_id, name, fallback, arrays)
            notes.append(missing_note(name, fallback))
        else:
            arrays[name], own = _on_first(f"case {case_id}: {name}", name, volume, first, registration)
            notes += own
    return replace(first, array=np.concatenate(list(arrays.values())), notes=tuple(notes))


def missing_note(name: str, fallback: str | None) -> Note:
    """Say what stands for a missing channel."""
    used = "zeros stand in its place" if fallback == ZEROS else f"{fallback} is used in its place"
    return Note("channel_missing", f"channel {name} is missing: {used}", warning=True)


def channel_notes(name: str, notes: Sequence[Note]) -> list[Note]:
    """Let the notes of a further channel's image name the channel."""
    return [replace(note, message=f"channel {name}: {note.message}") for note in notes]


def _instead(case_id: str, name: str, fallback: str | None, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """What stands for a missing channel."""
    if fallback is None:
        raise ImageError(
            f"case {case_id}: {name} is missing and the pipeline states no fallback for it", code="missing_channel"
        )
    return np.zeros_like(next(iter(arrays.values()))[:1]) if fallback == ZEROS else arrays[fallback]


def _on_first(
    where: str, name: str, volume: Volume, first: Volume, registration: Registration
) -> tuple[np.ndarray, list[Note]]:
    """Bring an image onto the grid of the first, registered where that is asked for."""
    if volume.is_projection != first.is_projection or (first.is_projection and volume.grid.shape != first.grid.shape):
        raise GeometryError(
            f"{where} {volume.grid.shape} ({volume.grid.unit}) does not lie on image {first.grid.shape} "
            f"({first.grid.unit}); projections of one case must agree in size"
        )
    notes = channel_notes(name, volume.notes)
    covered = _coverage(volume.grid, first.grid)
    if covered < LEAST_COVERED:
        raise GeometryError(
            f"{where} covers {covered:.1%} of the first image, at least {LEAST_COVERED:.0%} is needed: are they of "
            "one examination, and of one region?",
            code="little_overlap",
        )
    grid = volume.grid
    if registration == "rigid":
        try:
            motion = register_rigid(first.array[0], first.grid, volume.array[0], grid)
        except GeometryError as error:
            raise GeometryError(f"{where}: {error}") from error
        notes.append(_registration_note(name, motion))
        if not motion.problem:
            grid = motion.applied_to(grid)
            covered = _coverage(grid, first.grid)
    if covered < WELL_COVERED:
        text = f"channel {name} covers {covered:.1%} of the first image; beyond it stands its background"
        notes.append(Note("channel_covers_part", text, warning=True))
    outside = float(np.percentile(volume.array, BACKGROUND)) if covered < 1 else 0.0
    array = np.stack([resample(channel, grid, first.grid, outside=outside) for channel in volume.array])
    if not array.any():
        raise ImageError(f"{where} is all zero: there is nothing to see in it")
    return array, notes


def _coverage(other: Grid, first: Grid) -> float:
    """Share of the first grid, looked at on a lattice with its corners, that lies inside the other one."""
    points = np.meshgrid(*[np.linspace(0, n - 1, min(n, LATTICE)) for n in first.shape[::-1]])
    index = other.to_index(first.to_world(np.stack(points, axis=-1).reshape(-1, 3)))
    size = np.array(other.shape[::-1])
    rounding = 1e-3  # of a voxel
    inside = (index > -0.5 - rounding) & (index < size - 0.5 + rounding)
    return float(inside.all(axis=1).mean())


def _registration_note(name: str, motion: RigidMotion) -> Note:
    if motion.problem:
        text = f"channel {name} is not registered, the position that its file states is used: {motion.problem}"
        return Note("registration_refused", text, warning=True)
    moved = f"{motion.distance_mm:.1f} mm, {motion.degrees:.1f} degrees"
    return Note("registered", f"channel {name} registered to the first: {moved}")
