"""Slabs of NIfTI files: by seeking, or from a compressed stream that is read forward."""

import math
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from medseg.imaging.nifti import open_nifti, open_payload, read_nifti
from medseg.imaging.payload import Payload, convert_next
from medseg.imaging.precision import Float32Conversion
from medseg.imaging.slabs import SlabReader
from medseg.volume import Note, Volume

__all__ = ["NiftiSlabs"]


class NiftiSlabs(SlabReader):
    """Rows of a NIfTI file, whose channels follow one another as whole volumes.

    Parameters
    ----------
    path : Path
        As of `read_nifti`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        files = ExitStack()
        self._streams = {0: files.enter_context(ExitStack())}
        image = open_nifti(self._streams[0], path)
        self._layout, self._begin = image.layout, image.payload.taken
        super().__init__(image.grid, image.layout.channels, notes=image.notes, files=files)
        self._data = image.payload.path
        self._payloads = {0: image.payload}
        self._convert = Float32Conversion(self._layout.dtype, self._layout.slope, self._layout.intercept)
        self._n_bytes = self._layout.size * self._layout.dtype.itemsize
        image.payload.require(self._n_bytes, "image")  # a file that is cut off is known at once, where it can be

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was done or noticed so far; values that were read twice count twice."""
        return (*self._notes, *self._convert.notes())

    def _read(self, start: int, stop: int) -> np.ndarray:
        rows, *plane = self._layout.shape
        array = np.empty((self.n_channels, stop - start, *plane), np.float32)
        row_bytes = math.prod(plane) * self._layout.dtype.itemsize
        for channel in range(self.n_channels):
            place = (channel * rows + start) * row_bytes
            payload = self._at(channel, place)
            convert_next(payload, array[channel].reshape(-1, 1), self._layout, self._convert, done=place)
            if place + (stop - start) * row_bytes == self._n_bytes and payload.compressed:
                self._notes += tuple(note for note in payload.rest() if note not in self._notes)
        return array

    def _at(self, channel: int, place: int) -> Payload:
        """Content of the file from the byte `place` of the image on."""
        number = channel if self._payloads[0].compressed else 0  # a stream for each channel, as they go forward only
        payload = self._payloads.get(number)
        if payload is None or payload.taken > self._begin + place:
            payload = self._reopened(number)
        payload.skip(self._begin + place - payload.taken, "image")
        return payload

    def _reopened(self, number: int) -> Payload:
        if number not in self._streams:
            self._streams[number] = self._files.enter_context(ExitStack())
        self._streams[number].close()
        self._payloads[number] = open_payload(self._streams[number], self._data)
        return self._payloads[number]

    def volume(self) -> Volume:
        """Read all of it at once."""
        return read_nifti(self._path)
