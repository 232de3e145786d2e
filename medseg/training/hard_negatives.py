"""Search of training cases for hard negatives, with the weights that have been learned so far."""

import logging
from collections.abc import Callable

import numpy as np
import torch

from medseg.config import Pipeline
from medseg.data.cache import CachedCase
from medseg.data.hard_negatives import HardNegative
from medseg.data.preprocess import Prepared
from medseg.data.settings import SamplingSettings
from medseg.data.store import CaseStore
from medseg.inference.model import Model
from medseg.planning.plan import Plan
from medseg.seeds import child_seed

__all__ = ["HardNegativeSearch", "false_positives", "hard_negative_search"]

logger = logging.getLogger(__name__)
MOST = 20  # hard negatives of one case: the worst ones, so that no case outweighs all others

Weights = dict[str, torch.Tensor]


def hard_negative_search(
    pipeline: Pipeline, plan: Plan, store: CaseStore, build: Callable[[Weights], Model]
) -> "HardNegativeSearch | None":
    """Return the search that a pipeline asks for; None where it asks for none."""
    if not pipeline.sampling.hard_negative_fraction:
        return None
    return HardNegativeSearch(build, store, pipeline.sampling, plan, seed=pipeline.training.seed)


class HardNegativeSearch:
    """Looks through some training cases every few epochs.

    Parameters
    ----------
    build : callable
        From weights to the model that looks.
    store : CaseStore
        The training cases. Each search takes others of them, so many that the seed and the step decide which.
    """

    def __init__(
        self,
        build: Callable[[Weights], Model],
        store: CaseStore,
        settings: SamplingSettings,
        plan: Plan,
        *,
        seed: int,
    ) -> None:
        self._build, self._store, self._settings, self._plan, self._seed = build, store, settings, plan, seed
        self._steps = max(1, round(settings.hard_negative_every_epochs * plan.steps_per_epoch))

    def is_due(self, step: int) -> bool:
        """Whether a search follows `step`."""
        return step % self._steps == 0

    def found(self, weights: Weights, before: list[HardNegative], step: int) -> list[HardNegative]:
        """Hard negatives by now: those `before`, but of the cases that are looked through what is found there now.

        Led by the first process; all have the result.
        """
        names = [case.case_id for case in self._store.cases]
        random = np.random.default_rng(child_seed(self._seed, "hard negatives", step))
        chosen = sorted(random.permutation(len(names))[: self._settings.hard_negative_cases].tolist())
        looked = [names[index] for index in chosen]
        model = self._build(weights)
        new = model.team.led(lambda: [one for name in looked for one in self._of(model, name)], model.follow)
        kept = set(looked)
        found = [one for one in before if one[0] not in kept] + new
        logger.info("step %d: %d hard negatives, %d of them new", step, len(found), len(new))
        return found

    def _of(self, model: Model, name: str) -> list[HardNegative]:
        case = self._store[name]
        size = (1,) * (3 - len(self._plan.patch_size)) + self._plan.patch_size
        whole = all(side <= patch for side, patch in zip(case.grid.shape, size))
        if whole and case.has_lesion:
            return []  # a sample is all of the image: nothing to aim at, and no negative
        found = false_positives(model, case, min_score=self._settings.hard_negative_score)
        return [(name, *place) for place in found[: 1 if whole else MOST]]


def false_positives(model: Model, case: CachedCase, *, min_score: float) -> list[tuple[int, int, int, float]]:
    """List (z, y, x, score) of the candidates of a case whose centre lies in no lesion, the highest score first."""
    maps = model.maps(Prepared(case.image, case.grid, case.source))
    settings = model.pipeline.inference
    candidates = model.detector.decode(maps, min_score=min_score, max_candidates=settings.max_candidates)
    limit = np.array(case.instances.shape) - 1
    found = []
    for candidate in candidates:
        z, y, x = np.clip(np.round(candidate.centre[::-1]).astype(int), 0, limit).tolist()
        if not case.instances[z, y, x]:
            found.append((z, y, x, float(candidate.score)))
    return found
