"""Hard negatives: places in training cases that a network takes for lesions, and drawing samples from them."""

from collections.abc import Sequence

import numpy as np

from medseg.seeds import child_seed

__all__ = ["HardNegative", "pick_hard_negative"]

HardNegative = tuple[str, int, int, int, float]  # case_id; z, y, x on the working grid; score


def pick_hard_negative(
    hard_negatives: Sequence[HardNegative], fraction: float, seed: int, index: int
) -> HardNegative | None:
    """Draw whether sample `index` is a hard negative, and which: the likelier, the higher its score.

    Like everything in a sample, a function of seed and number (and the list) alone.
    """
    if not hard_negatives or not fraction:
        return None
    random = np.random.default_rng(child_seed(seed, "hard negative", index))
    if random.random() >= fraction:
        return None
    scores = np.array([one[-1] for one in hard_negatives])
    return hard_negatives[int(random.choice(len(scores), p=scores / scores.sum()))]
