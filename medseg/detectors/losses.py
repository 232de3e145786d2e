"""Losses of masks: how wrong each voxel is, and how that becomes one number.

Tensors have the shape (batch, class, *spatial) and float32 (or more). Every function is made of pointwise operations
and sums, so that it has the same value on volumes that are cut over processes or over time.
"""

import torch
from torch.nn import functional

__all__ = ["dice_loss", "entropies", "focal_factor", "focal_tversky_loss", "hardest_mean", "probabilities"]

BISECTIONS = 40  # halvings of the range of values: beyond what float32 tells apart
NEAREST = 1e-7  # to a Tversky index of 1, where the slope of a root is infinite


def probabilities(logits: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    """Probability of each class, shape (batch, class, *spatial).

    Parameters
    ----------
    logits : Tensor
        One channel a class; with `exclusive` a last one for the background.
    exclusive : bool
        Softmax over classes and background, instead of a sigmoid a class.
    """
    return logits.softmax(1)[:, :-1] if exclusive else logits.sigmoid()


def entropies(logits: torch.Tensor, target: torch.Tensor, *, positive_weight: float, exclusive: bool) -> torch.Tensor:
    """Cross-entropy of each voxel, times `positive_weight` where a lesion is.

    Returns
    -------
    Tensor, shape (batch, class, *spatial)
        With `exclusive` (batch, 1, *spatial): classes and background are told apart.
    """
    if not exclusive:
        weight = torch.tensor(positive_weight, device=logits.device, dtype=logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="none")
    shares, background = _exclusive(target)
    log_p = logits.log_softmax(1)
    lesion = (shares * log_p[:, :-1]).sum(1, keepdim=True)
    return -(positive_weight * lesion + background * log_p[:, -1:])


def focal_factor(probability: torch.Tensor, target: torch.Tensor, gamma: float, *, exclusive: bool) -> torch.Tensor:
    """Factor that spares voxels that are right already, of the shape of `entropies`.

    ``(1 - p)^gamma`` with `p` the probability of the truth (Lin 2017, arXiv:1708.02002).
    """
    if not exclusive:
        return torch.where(target > 0.5, 1 - probability, probability) ** gamma
    shares, background = _exclusive(target)
    truth = (shares * probability).sum(1, keepdim=True) + background * (1 - probability.sum(1, keepdim=True))
    return (1 - truth).clamp(min=0) ** gamma


def _exclusive(target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of each class in a voxel, and of the background; on coarser levels classes may share a voxel."""
    together = target.sum(1, keepdim=True)
    return target / together.clamp(min=1), 1 - together.clamp(max=1)


def dice_loss(probability: torch.Tensor, target: torch.Tensor, *, over: str) -> torch.Tensor:
    """Soft Dice loss.

    ``1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1)`` with the sums over the batch or over each sample
    (Milletari 2016, V-Net, arXiv:1606.04797; the 1 keeps empty samples finite).
    """
    axes = _axes(probability, over)
    overlap = (probability * target).sum(axes)
    return (1 - (2 * overlap + 1) / (probability.sum(axes) + target.sum(axes) + 1)).mean()


def focal_tversky_loss(
    probability: torch.Tensor, target: torch.Tensor, *, over: str, alpha: float, gamma: float
) -> torch.Tensor:
    """Focal Tversky loss (Abraham 2019, arXiv:1810.07842).

    ``(1 - TI)^(1 / gamma)`` with the Tversky index ``TI = (TP + 1) / (TP + alpha FN + (1 - alpha) FP + 1)`` of soft
    counts over the batch or over each sample, averaged over classes (and samples).

    Parameters
    ----------
    over : {'batch', 'sample'}
    alpha : float
        Weight of what is missed; that of false alarms is ``1 - alpha``.
    gamma : float
        Above 1: classes and samples with a high loss count more, near an index of 1 the gradient does not fade.
    """
    axes = _axes(probability, over)
    hit = (probability * target).sum(axes)
    missed, false = target.sum(axes) - hit, probability.sum(axes) - hit
    index = (hit + 1) / (hit + alpha * missed + (1 - alpha) * false + 1)
    return ((1 - index).clamp(min=NEAREST) ** (1 / gamma)).mean()


def hardest_mean(values: torch.Tensor, fraction: float) -> torch.Tensor:
    """Mean of the highest `fraction` of all values, at least one, as in nnU-Net's top-k cross-entropy.

    Where values at the border are equal, they share what is left of the places. The border is found by bisection:
    comparisons and sums alone, where sorting would need all values in one place.
    """
    k = max(1, round(fraction * values.numel()))
    with torch.no_grad():
        low, high = values.min(), values.max()
        low = low - 1e-3 * (1 + low.abs())
        for _ in range(BISECTIONS):  # more than k - 1 values lie above `low`, fewer than k above `high`
            middle = (low + high) / 2
            many = (values > middle).sum() >= k
            low, high = torch.where(many, middle, low), torch.where(many, high, middle)
        above, at_border = values > high, (values > low) & (values <= high)
        share = (k - above.sum()).to(values.dtype) / at_border.sum().to(values.dtype)
        weights = (above.to(values.dtype) + share * at_border) / k
    return (weights * values).sum()


def _axes(x: torch.Tensor, over: str) -> tuple[int, ...]:
    return tuple(range(2, x.ndim)) if over == "sample" else (0, *range(2, x.ndim))
