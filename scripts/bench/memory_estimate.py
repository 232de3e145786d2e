"""The estimate of a training step's memory against real steps, on synthetic images.

    python scripts/bench/memory_estimate.py [NAME ...] [--precision float32 bfloat16] [--sizes]

For each network: seconds of the estimate; estimated peak of live tensor bytes; what torch's own `MemTracker` counts in
a real step of medseg's training loop (slow: a minute for a DenseNet); and what torch's allocator gave out at most in
the next step (`torch.profiler`), which also holds what kernels allocate and free within one operation. ``--sizes``
estimates one 3D network at growing sizes, without a real step.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.distributed._tools.mem_tracker import MemTracker

from medseg.config import Pipeline, pipeline_from_dict
from medseg.detectors.factory import build_detector
from medseg.networks.factory import build_network
from medseg.parallel.settings import LayoutSettings
from medseg.parallel.team import Team
from medseg.planning.budget import pipeline_memory
from medseg.planning.plan import Plan
from medseg.training.learner import Learner

MASKS, LABELS = {"kind": "segmentation"}, {"kind": "classification"}
UNET3D = {"name": "unet", "filters": [16, 32, 64, 128]}
# name: network, detector, patch, batch
CASES: dict[str, tuple[dict, dict, tuple[int, ...], int]] = {
    "unet2d_small": ({"name": "unet"}, MASKS, (64, 64), 2),
    "unet2d": ({"name": "unet"}, MASKS, (128, 128), 4),
    "unet2d_heatmap": ({"name": "unet", "filters": [16, 32, 64]}, {"kind": "heatmap"}, (96, 128), 4),
    "unet3d_small": (UNET3D, MASKS, (16, 32, 32), 1),
    "unet3d": (UNET3D, MASKS, (32, 64, 64), 2),
    "unet3d_batch_norm": (UNET3D | {"norm": "batch"}, MASKS, (32, 48, 48), 2),
    "residual2d": ({"name": "unet", "block": "residual"}, MASKS, (128, 128), 4),
    "residual3d": (UNET3D | {"block": "residual", "dropout": 0.1}, MASKS, (32, 48, 48), 2),
    "densenet121": ({"name": "densenet", "depth": 121}, LABELS, (128, 128), 4),
    "densenet201": ({"name": "densenet", "depth": 201}, LABELS, (96, 96), 4),
    "densenet121_3d": ({"name": "densenet", "depth": 121}, LABELS, (32, 48, 48), 2),
    "densenet201_3d": ({"name": "densenet", "depth": 201}, LABELS, (32, 32, 32), 2),
    "small_cnn": ({"name": "small_cnn"}, LABELS, (28, 28), 128),
    "small_cnn_deep": (
        {"name": "small_cnn", "filters": [16, 16, 32, 32], "pool_every": 2, "hidden": [128], "norm": True},
        LABELS, (28, 28), 32,
    ),
}  # fmt: skip


def pipeline_of(name: str, **training: object) -> Pipeline:
    """A pipeline with the network of a case."""
    network, detector, patch, batch = CASES[name]
    return pipeline_from_dict({
        "name": name, "classes": ["a", "b"], "input": {"dimensions": len(patch)}, "network": network,
        "detector": detector, "training": {"max_steps": 10, "batch_size": batch, **training},
    })  # fmt: skip


class RealSteps:
    """Training steps of medseg's own learner on noise; the first one is done, so that the optimiser has its state."""

    def __init__(self, name: str, precision: str, **training: object) -> None:
        pipeline, (_, _, patch, batch) = pipeline_of(name, precision=precision, **training), CASES[name]
        detector = build_detector(pipeline.detector, pipeline.classes)
        self.network = build_network(
            pipeline.network, in_channels=1, out_channels=detector.output_channels(len(patch)), patch_size=patch
        ).train()
        plan = Plan(
            spacing_mm=None, patch_size=patch, batch_size=batch, steps_per_epoch=1, n_training_cases=1,
            n_positive_cases=1, precision=precision,
        )  # fmt: skip
        team = Team(LayoutSettings(), torch.device("cpu"))
        self._learner = Learner(self.network, detector, plan, pipeline.training, team, nullcontext())
        self._image = torch.randn(batch, 1, *patch)
        self._target = {
            "segmentation": lambda: (torch.rand(batch, 2, *patch) < 0.1).to(torch.uint8),
            "heatmap": lambda: torch.rand(batch, 2 + len(patch) + 1, *patch),
            "classification": lambda: torch.randint(2, (batch,)),
        }[pipeline.detector.kind]()
        self.step()

    def step(self) -> None:
        """Learn from the one batch once more."""
        self._learner.step(self._image, self._target, rate=1e-4, number=2)

    def held(self) -> list[torch.Tensor]:
        """What is there between steps."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        moments = [value for state in self._learner._optimizer.state.values() for value in state.values()]
        weights = [*self.network.state_dict().values(), *self._learner.weights.values()]
        return [*weights, *gradients, *moments, self._image, self._target]


def tracked_bytes(steps: RealSteps) -> int:
    """Peak of live tensor bytes of a real step, by torch's tracker."""
    tracker = MemTracker()
    tracker.track_external(*steps.held())
    with tracker:
        steps.step()
    return tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]


def allocated_bytes(steps: RealSteps) -> int:
    """Most that torch's allocator had given out during a real step, with what was there before."""
    now = sum({x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in steps.held()}.values())
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        steps.step()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    peak = now
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def timed(work: Callable[[], object]) -> tuple[object, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def compare(name: str, precision: str) -> None:
    _, _, patch, batch = CASES[name]
    estimate, seconds = timed(
        lambda: pipeline_memory(pipeline_of(name), patch, batch, device="cpu", precision=precision)
    )
    steps = RealSteps(name, precision)
    tracked, allocated = tracked_bytes(steps), allocated_bytes(steps)
    print(
        f"| {name}, {batch} x {'x'.join(map(str, patch))}, {precision} | {seconds:.1f} "
        f"| {estimate.training_bytes / 1e6:.1f} | {tracked / 1e6:.1f} | {estimate.training_bytes / tracked:.3f} "
        f"| {allocated / 1e6:.1f} | {allocated / estimate.training_bytes:.3f} | {estimate.training_flops / 1e9:.1f} |",
        flush=True,
    )


def sizes() -> None:
    print("| voxels | seconds | training GB | prediction of four windows GB | training TFLOP |\n|---|---|---|---|---|")
    for side in (32, 64, 128, 256, 512, 1024):
        estimate, seconds = timed(
            lambda side=side: pipeline_memory(
                pipeline_of("unet3d"), (side,) * 3, 1, device="cuda", precision="bfloat16"
            )
        )
        print(
            f"| {side}^3 | {seconds:.1f} | {estimate.training_bytes / 1e9:.2f} | {estimate.inference_bytes / 1e9:.2f} "
            f"| {estimate.training_flops / 1e12:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}; none: all")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--sizes", action="store_true", help="estimates at growing sizes")
    arguments = parser.parse_args()
    if arguments.sizes:
        sizes()
        return
    print("| network | s | estimate MB | live MB | estimate / live | allocator MB | allocator / estimate | GFLOP |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.names or CASES:
        for precision in arguments.precision:
            compare(name, precision)


if __name__ == "__main__":
    main()
