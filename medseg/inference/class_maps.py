"""A classifier over a whole image: class probabilities, and maps of where each class is seen."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from medseg.detectors.classification import ClassificationDetector
from medseg.inference.settings import InferenceSettings
from medseg.networks.activation_maps import activation_maps

__all__ = ["ClassAnswers", "ClassOutput", "answer", "classify", "flips_of"]

AXES = {"z": -3, "y": -2, "x": -1}


@dataclass(frozen=True, slots=True, eq=False)
class ClassOutput:
    """What a classifier says of an image.

    Parameters
    ----------
    probabilities : ndarray, shape (class,)
        Of a volume that is seen slice by slice: their means.
    maps : ndarray of float32, shape (class, z, y, x), or None
        Of `ClassificationDetector.localise`, on the working grid.
    passes : ndarray, shape (pass, class)
        Probabilities of the image and of each of its mirror images, whose mean is `probabilities`.
    """

    probabilities: np.ndarray
    maps: np.ndarray | None
    passes: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))


class ClassAnswers:
    """Answers to the mirror images of one image, or of its slices, and their means.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the working grid.
    dimensions : int
        2: each slice is an image of its own.
    """

    def __init__(self, detector: ClassificationDetector, shape: tuple[int, ...], dimensions: int) -> None:
        self._detector, self._dimensions = detector, dimensions
        self._size = shape[-dimensions:]
        self._n = shape[0] if dimensions == 2 else 1
        n_classes = len(detector.classes)
        self._probabilities = np.zeros((self._n, n_classes))
        self._views = np.zeros(self._n)
        self._passes: dict[int | None, np.ndarray] = {}
        self._evidence: np.ndarray | None = None

    def add(self, logits: torch.Tensor, maps: torch.Tensor | None, *, first: int = 0, flip: int | None = None) -> None:
        """Add the answers to slices from `first` on, mirrored along axis `flip` as counted from the end.

        Parameters
        ----------
        logits : Tensor, shape (slice, class)
        maps : Tensor, shape (slice, class, *grid)
            Of `activation_maps`.
        """
        own = slice(first, first + len(logits))
        probabilities = self._detector.activate(logits).double().cpu().numpy()
        self._probabilities[own] += probabilities
        self._passes.setdefault(flip, np.zeros_like(self._probabilities))[own] = probabilities
        self._views[own] += 1
        if maps is None:
            return
        evidence = functional.interpolate(
            self._detector.evidence(maps), self._size, mode="bilinear" if self._dimensions == 2 else "trilinear"
        )
        if self._evidence is None:
            self._evidence = np.zeros((self._n, *evidence.shape[1:]), np.float32)
        self._evidence[own] += (evidence if flip is None else evidence.flip(flip)).cpu().numpy()

    def result(self) -> ClassOutput:
        """The means over the mirror images; zeros where there were no answers, as on processes that only help."""
        views = np.maximum(self._views, 1)
        probabilities = self._probabilities / views[:, None]  # (slice, class)
        mean = probabilities.mean(axis=0)
        passes = np.array([one.mean(axis=0) for one in self._passes.values()])  # of slices, as the mean is
        if self._evidence is None:
            return ClassOutput(mean, None, passes)
        evidence = self._evidence
        evidence /= views.reshape(-1, *(1,) * (evidence.ndim - 1))
        by_class = evidence.swapaxes(0, 1) if self._dimensions == 2 else evidence[0]  # (class, z, y, x)
        return ClassOutput(mean, self._detector.localise(probabilities.T[:, :, None, None], by_class), passes)


def answer(
    network: nn.Module, detector: ClassificationDetector, image: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits and, where the detector's settings ask for them, activation maps."""
    method = detector.settings.activation_map
    return (network(image), None) if method == "none" else activation_maps(network, image, method=method)


@torch.inference_mode()
def classify(
    network: nn.Module,
    detector: ClassificationDetector,
    image: np.ndarray,
    *,
    dimensions: int,
    settings: InferenceSettings,
) -> ClassOutput:
    """Run `network` over `image`, shape (channel, z, y, x), whole; every slice by itself with two dimensions."""
    given = torch.from_numpy(image).to(next(network.parameters()).device)
    batch = given.swapaxes(0, 1) if dimensions == 2 else given[None]
    answers = ClassAnswers(detector, image.shape[1:], dimensions)
    for flip in flips_of(settings, dimensions):
        answers.add(*answer(network, detector, batch if flip is None else batch.flip(flip)), flip=flip)
    return answers.result()


def flips_of(settings: InferenceSettings, dimensions: int) -> list[int | None]:
    """Axes, counted from the end, that mirror images are made along; None for the image itself."""
    return [None, *(AXES[name] for name in settings.flip_axes if -AXES[name] <= dimensions)]
