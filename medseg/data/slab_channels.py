"""The images of one case as the channels of one slab reader, where they lie on one grid."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType

import numpy as np

from medseg.data.channel_settings import ZEROS, channel_names, fallback_of
from medseg.data.settings import InputSettings
from medseg.data.stacking import channel_notes, missing_note, stack_as_asked
from medseg.imaging.slabs import SlabReader, WholeSlabs, open_slabs
from medseg.volume import Note, Volume

__all__ = ["CaseImages", "SlabChannels", "open_images"]

SAME_GRID = 1e-6  # of a voxel, up to which `resample` copies


class SlabChannels(SlabReader):
    """Images on one grid as channels.

    Parameters
    ----------
    readers : sequence of SlabReader or None
        In the order of the channels. None: zeros.
    names : sequence of str
        Of the channels.
    missing : mapping of int to Note
        What is said of channels for which something else stands.
    """

    def __init__(
        self,
        readers: Sequence[SlabReader | None],
        *,
        names: Sequence[str] = ("image",),
        missing: Mapping[int, Note] = MappingProxyType({}),
    ) -> None:
        first = readers[0]
        if first is None:
            raise ValueError("the first channel is missing, on whose grid the others lie")
        n_channels = sum(1 if reader is None else reader.n_channels for reader in readers)
        self._facts = {name: getattr(first, name) for name in ("modality", "body_part", "view", "patient_age")}
        super().__init__(first.grid, n_channels, **self._facts)
        self._readers, self._first = tuple(readers), first
        self._names, self._missing = tuple(names), dict(missing)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Those of all images so far, and what stands for missing channels."""
        notes = list(self._first.notes)
        for number, (name, reader) in enumerate(zip(self._names[1:], self._readers[1:]), start=1):
            if number in self._missing:
                notes.append(self._missing[number])
            elif reader is not None:
                notes += channel_notes(name, reader.notes)
        return tuple(notes)

    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None:
        """Of a projection image, (y, x), where it is known."""
        return self._first.pixel_spacing_mm

    @property
    def missing(self) -> frozenset[int]:
        """Channels that are zeros because there is no image."""
        return frozenset(number for number, reader in enumerate(self._readers) if reader is None)

    def _read(self, start: int, stop: int) -> np.ndarray:
        if len(self._readers) == 1:
            return self._first.read(start, stop)
        array = np.zeros((self.n_channels, stop - start, *self.grid.shape[1:]), np.float32)
        for reader in dict.fromkeys(filter(None, self._readers)):  # once each, as one may stand for several channels
            rows = reader.read(start, stop)
            for number, other in enumerate(self._readers):
                if other is reader:
                    array[number] = rows[0]
        return array

    def volume(self) -> Volume:
        """Read all of it at once."""
        array = self.read(0, self.grid.shape[0])
        return Volume(array, self.grid, self.pixel_spacing_mm, notes=self.notes, **self._facts)


class CaseImages:
    """The open images of one case: see `open_images`."""

    def __init__(self, readers: Sequence[SlabReader | None], case_id: str, settings: InputSettings) -> None:
        self._readers, self._case_id, self._settings = readers, case_id, settings

    @property
    def first(self) -> SlabReader | None:
        """The image of the first channel."""
        return self._readers[0]

    @property
    def n_bytes(self) -> int:
        """Size of the images as float32."""
        return sum(reader.n_bytes for reader in self._readers if reader is not None)

    @property
    def read_whole(self) -> bool:
        """Whether an image lies in memory, because it cannot be read in slabs."""
        return any(isinstance(reader, WholeSlabs) for reader in self._readers)

    def stacked(self) -> Volume:
        """Read the images and stack them: see `stack_as_asked`."""
        volumes = [None if reader is None else reader.volume() for reader in self._readers]
        return stack_as_asked(volumes, self._case_id, self._settings)

    def channels(self) -> SlabChannels | None:
        """Return the channels in slabs, or None where they have to be stacked whole.

        That is where one must be registered or resampled to the first, or is missing and nothing is said to replace it.
        """
        readers, rules = list(self._readers), self._settings.series
        if len(readers) == 1 and readers[0] is not None:
            return SlabChannels(readers)
        if self._settings.registration != "none" or (rules and len(rules) != len(readers)):
            return None
        names = channel_names(rules, len(readers))
        missing = {}
        for number, reader in enumerate(readers):
            if reader is None:
                fallback = fallback_of(rules, number, self._settings.missing_channel)
                if fallback is None:
                    return None
                readers[number] = None if fallback == ZEROS else readers[names.index(fallback)]
                missing[number] = missing_note(names[number], fallback)
        first = readers[0]
        given = [reader for reader in readers if reader is not None]
        if first is None or not all(
            reader.n_channels == 1 and reader.grid.same_as(first.grid, tolerance=SAME_GRID) for reader in given
        ):
            return None
        return SlabChannels(readers, names=names, missing=missing)


@contextmanager
def open_images(images: Sequence[str | None], case_id: str, settings: InputSettings) -> Iterator[CaseImages]:
    """Open the images of one case by their headers, to be read in slabs or, where they are small, whole.

    Parameters
    ----------
    images : sequence of str or None
        As of `read_channels`.

    Raises
    ------
    ImageError
        When one cannot be opened.
    """
    with ExitStack() as stack:
        readers = [None if image is None else stack.enter_context(open_slabs(image)) for image in images]
        yield CaseImages(readers, case_id, settings)
