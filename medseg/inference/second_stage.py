"""The second stage in use: it judges the candidates of the first, and the fused score takes the place of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from torch import nn

from medseg.data.crops import lowest_values, multi_scale_crop
from medseg.data.preprocess import Prepared
from medseg.detectors.fusion import Fusion
from medseg.detectors.second_stage_settings import SecondStageSettings
from medseg.errors import CheckpointError, ImageError
from medseg.files import read_json
from medseg.lesion import Finding
from medseg.networks.crop_cnn import build_crop_network

__all__ = ["FOLDER", "STAGE", "WEIGHTS", "SecondStage", "crop_scores", "crops_at", "load_second_stage", "stage_files"]

FOLDER = "second_stage"
STAGE, WEIGHTS = "second_stage.json", "weights.safetensors"
BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class SecondStage:
    """A trained second stage.

    Parameters
    ----------
    fusion : Fusion
        Of both scores, fitted on validation.
    operating_point : float
        Fused score from which a finding is reported, chosen on validation.
    """

    settings: SecondStageSettings
    network: nn.Module
    fusion: Fusion
    operating_point: float

    def judge(self, findings: Sequence[Finding], prepared: Prepared) -> list[Finding]:
        """Give each finding the fused score, keeping both that it is made of; the best first.

        Raises
        ------
        ImageError
            When a score is not finite.
        """
        if not findings:
            return []
        places = np.array([(finding.x, finding.y, finding.z) for finding in findings])
        first = np.array([finding.score for finding in findings])
        second = crop_scores(self.network, crops_at(prepared, places, self.settings))
        if not np.isfinite(second).all():
            raise ImageError("the second stage's output is not finite: is it damaged, or are the grey values extreme?")
        fused = self.fusion.apply(first, second)
        order = np.argsort(-fused, kind="stable")
        return [
            replace(
                findings[n], score=float(fused[n]), score_first=float(first[n]), score_second=float(second[n])
            )
            for n in order
        ]  # fmt: skip


def crops_at(prepared: Prepared, places: np.ndarray, settings: SecondStageSettings, *, margin: int = 0) -> np.ndarray:
    """Cut crops of all sizes around places, shape (n, 3), with `margin` more voxels on each side.

    They are cut from the image that the first stage is given: on its working grid, its grey values on their scale.

    Returns
    -------
    ndarray of float32, shape (n, size * channel, [z,] y, x)
    """
    n_voxels = settings.n_voxels + 2 * margin
    sizes = [size * n_voxels / settings.n_voxels for size in settings.sizes]
    outside = lowest_values(prepared.image)
    return np.stack([
        multi_scale_crop(prepared.image, prepared.grid, place, sizes=sizes, n_voxels=n_voxels, outside=outside)
        for place in places
    ])  # fmt: skip


@torch.inference_mode()
def crop_scores(network: nn.Module, crops: np.ndarray) -> np.ndarray:
    """Probability that each crop shows a lesion, float64 of shape (n,)."""
    network.eval()
    device = next(network.parameters()).device
    parts = [
        torch.sigmoid(network(torch.from_numpy(np.asarray(crops[n : n + BATCH])).float().to(device))[:, 0].double())
        for n in range(0, len(crops), BATCH)
    ]
    return torch.cat(parts).cpu().numpy() if parts else np.empty(0)


def stage_files(run: Path) -> list[Path]:
    """List the files that make the second stage of a run; none where it has none, or one that is not finished."""
    files = [run / FOLDER / STAGE, run / FOLDER / WEIGHTS]
    return files if files[0].is_file() else []


def load_second_stage(run: Path, *, first_stage_sha256: str, device: torch.device | str = "cpu") -> SecondStage | None:
    """Load the second stage of a run, None where it has none.

    Raises
    ------
    CheckpointError
        When it is damaged, or was fused with another first stage.
    """
    if not stage_files(run):
        return None
    path, weights = stage_files(run)
    content: dict[str, Any] = read_json(
        path, needs=("settings", "fusion", "operating_point", "in_channels", "dimensions", "first_stage_sha256"),
        error=CheckpointError,
    )  # fmt: skip
    if content["first_stage_sha256"] != first_stage_sha256:
        raise CheckpointError(
            f"{path.parent}: belongs to another first stage, with whose scores its own are fused; train it again with "
            "`medseg train --second-stage`, or remove the folder"
        )
    try:
        settings = SecondStageSettings.model_validate(content["settings"])
        network = build_crop_network(
            settings.network, in_channels=int(content["in_channels"]), dimensions=int(content["dimensions"]),
            n_voxels=settings.n_voxels,
        )  # fmt: skip
        network.load_state_dict(from_safetensors(weights.read_bytes()))
        operating_point = float(content["operating_point"])
    except (ValidationError, SafetensorError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.parent}: damaged, or of another version ({type(error).__name__})") from error
    return SecondStage(settings, network.to(device).eval(), Fusion.of(content["fusion"]), operating_point)
