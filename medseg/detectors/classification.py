"""What an image shows: one label, or several with a mask over what is not known; findings from activation maps."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from medseg.detectors.candidates import Candidate
from medseg.detectors.regions import region_candidates
from medseg.detectors.settings import ClassificationSettings
from medseg.errors import AnnotationError

__all__ = ["ClassificationDetector", "balanced_weights"]


def balanced_weights(labels: np.ndarray, *, multi_label: bool) -> list[float]:
    """Weights with which all classes count the same in the loss.

    Parameters
    ----------
    labels : ndarray of int, shape (case, class)
        1, 0, or -1 where it is not known.
    multi_label : bool
        Weights of each class's positive cases, ``n_negative / n_positive``; else of the cases of each class,
        ``n / (n_classes n_class)`` (scikit-learn's ``balanced``). 1 where a class has no case.
    """
    positive = (labels == 1).sum(axis=0)
    other = (labels == 0).sum(axis=0) if multi_label else np.full(labels.shape[1], len(labels) / labels.shape[1])
    weights = np.divide(other, positive, out=np.ones(labels.shape[1]), where=(positive > 0) & (other > 0))
    return [float(weight) for weight in weights]


class ClassificationDetector:
    """Detector of kind ``classification``.

    Parameters
    ----------
    class_weights : sequence of float, optional
        Weight in the loss of the cases of each class; of its positive cases with several labels an image.
    """

    quiet_start = False

    def __init__(
        self,
        settings: ClassificationSettings,
        classes: tuple[str, ...],
        *,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        self.settings, self.classes, self._weights = settings, classes, class_weights

    @property
    def validation_metric(self) -> str:
        """Accuracy; with several labels an image the mean AUC of the classes."""
        return "mean_auc" if self.settings.multi_label else "accuracy"

    def output_channels(self, dimensions: int) -> int:
        """One logit a class."""
        return len(self.classes)

    def encode(
        self,
        instances: np.ndarray,
        class_of: np.ndarray,
        label: int,
        *,
        labels: Sequence[int] | np.ndarray = (),
        first_row: int = 0,
        boxes: Callable[[], np.ndarray] | None = None,
        sizes: Callable[[], np.ndarray] | None = None,
    ) -> np.ndarray:
        """The label as an int64 of shape (), or the labels as an int8 of shape (class,)."""
        if self.settings.multi_label:
            return np.asarray(labels, np.int8)
        if not 0 <= label < len(self.classes):
            raise AnnotationError(f"label {label} is out of range: the pipeline has {len(self.classes)} classes from 0")
        return np.asarray(label, np.int64)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross-entropy in float32; with several labels the mean of the binary ones over the labels that are known."""
        logits, smoothing = output.float(), self.settings.label_smoothing
        weight = None if self._weights is None else torch.tensor(self._weights, device=logits.device)
        if not self.settings.multi_label:
            return functional.cross_entropy(logits, target, weight=weight, label_smoothing=smoothing)
        known = (target >= 0).float()
        wanted = target.float().clamp(min=0) * (1 - smoothing) + smoothing / 2
        entropy = functional.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weight, reduction="none")
        return (entropy * known).sum() / known.sum().clamp(min=1)

    def activate(self, output: torch.Tensor) -> torch.Tensor:
        """Probability of each class."""
        return output.float().sigmoid() if self.settings.multi_label else output.float().softmax(dim=1)

    def evidence(self, maps: torch.Tensor) -> torch.Tensor:
        """What each place adds to the log-odds of each class, from maps of `activation_maps` of the same shape.

        Its sum over the places, and the bias, are the logit. With one label an image the odds are those against the
        first class: what is added to all logits changes nothing.
        """
        if not self.settings.multi_label:
            maps = maps - maps[:, :1]
        return maps.float() / maps.shape[2:].numel()

    @staticmethod
    def localise(probability: np.ndarray, evidence: np.ndarray) -> np.ndarray:
        """Map of where each class is seen, between 0 and its probability: ``p (1 - exp(-max(e, 0)))``.

        ``1 - exp(-e)`` is the share by which the odds of the class would fall without the evidence ``e`` of one place
        of the feature grid. It does not depend on what else the image shows, so that scores of several images compare.

        Parameters
        ----------
        probability : ndarray, broadcast against `evidence`
        evidence : ndarray, shape (class, z, y, x)
        """
        return (probability * -np.expm1(-np.maximum(evidence, 0))).astype(np.float32)

    def decode(self, maps: np.ndarray, *, min_score: float, max_candidates: int) -> list[Candidate]:
        """List the region of each peak of each map of `localise`; its score is the peak. See `region_candidates`."""
        settings = self.settings
        return region_candidates(
            maps, floor=min_score, fraction=settings.candidate_fraction, min_voxels=settings.min_voxels,
            limit=max_candidates, score=lambda values: float(values.max()),
        )  # fmt: skip
