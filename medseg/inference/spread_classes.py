"""A classifier over an image that is spread over processes, or over slabs in turn."""

from contextlib import nullcontext

import torch

from medseg.data.npy_rows import NpyRows
from medseg.detectors.classification import ClassificationDetector
from medseg.inference.class_maps import ClassAnswers, ClassOutput, answer
from medseg.inference.spread import Spread, Window
from medseg.parallel.signs import beat

__all__ = ["SpreadClasses"]


class SpreadClasses(Spread[ClassOutput]):
    """Class probabilities of a network, and its activation maps; the first process holds the maps whole."""

    _detector: ClassificationDetector

    @torch.inference_mode()
    def _over(self, image: NpyRows) -> ClassOutput:
        shape = image.shape[1:]
        answers = ClassAnswers(self._detector, shape, self._dimensions)
        size, start = shape[-self._dimensions :], (0,) * self._dimensions
        for plane in range(shape[0]) if self._dimensions == 2 else [None]:
            for flip in self._flips:
                logits, maps = self._answer(Window(image, plane, start, size, flip=flip))
                if logits is not None:
                    answers.add(logits, maps, first=plane or 0, flip=flip)
                beat()
        return answers.result()

    def _answer(self, window: Window) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Logits and activation maps of one window on the first process, None on the others."""
        x = self._spread(window)
        with self._context, self._autocast or nullcontext():
            logits, maps = answer(self._network, self._detector, x)
        whole = next((rows for _, rows in list(self._team.rows_of(self._context, logits))), None)
        parts = [] if maps is None else [rows for _, rows in self._team.rows_of(self._context, maps)]
        return whole, torch.cat(parts, dim=2) if parts else None
