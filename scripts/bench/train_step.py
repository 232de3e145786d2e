"""How much the training loop costs beyond the network: medseg's loop against a bare loop on the same batches.

    python scripts/bench/train_step.py [-d DATASET] [--steps 20] [--rounds 3]

Three loops take turns, so that what else the machine does falls on all: (a) bare: forward, loss, backward, clip, step,
on batches held in memory; (b) medseg's loop on the same batches, also held in memory; (c) medseg's loop with its own
sampling and augmentation in a worker process, which on a machine of two cores takes its share of them. Prints seconds a
step (median over all rounds), b / a, c / a, and the share of time that (c) waits for data. Without a data set,
synthetic images of 192 x 160 are used. Precision and memory format are the measured ones.
"""

import argparse
import copy
import csv
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medseg.config import load_pipeline
from medseg.data.manifest import Case, load_manifest, write_manifest
from medseg.data.samples import TrainingSamples
from medseg.data.splits import split_patients
from medseg.detectors.factory import build_detector
from medseg.inference.devices import resolve_device
from medseg.inference.model import network_for
from medseg.training.loop import fit
from medseg.training.measure import autocast, choose_execution, to_memory_format
from medseg.training.optimisation import build_optimizer
from medseg.training.preparation import prepare_training


class Fixed(torch.utils.data.Dataset):
    """The samples of a few batches, over and over."""

    def __init__(self, samples, length):
        self.samples, self.length = samples, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.samples[index % len(self.samples)]


def synthetic(folder, n=40, size=(192, 160)):
    random = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    cases = []
    for number in range(n):
        mask = (y - random.integers(30, 160)) ** 2 + (x - random.integers(30, 130)) ** 2 < random.integers(4, 15) ** 2
        image = np.clip(random.normal(100, 20, size) + 60 * mask, 1, 255).astype(np.uint8)
        paths = [folder / f"{kind}{number}.png" for kind in ("image", "mask")]
        for path, values in zip(paths, (image, mask.astype(np.uint8) * 255)):
            Image.fromarray(values).save(path)
        name = f"c{number}"
        cases.append(Case(case_id=name, patient_id=name, images=(str(paths[0]),), mask=paths[1], label=1))
    write_manifest(folder / "dataset.csv", cases)
    return folder


def bare(network, detector, batches, plan, settings, device, steps):
    to_memory_format(network, plan.channels_last, len(plan.patch_size))
    optimizer = build_optimizer(network, settings)
    times = []
    for image, target in itertools.islice(itertools.cycle(batches), steps):
        began = time.perf_counter()
        image = to_memory_format(image.to(device), plan.channels_last, len(plan.patch_size))
        with autocast(plan.precision, device):
            output = network(image)
        loss = detector.loss(output, target.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        optimizer.step()
        loss.item()
        times.append(time.perf_counter() - began)
    return times[2:]


def ours(network, detector, samples, plan, settings):
    with tempfile.TemporaryDirectory() as folder:
        fit(network, detector, samples, plan, settings, Path(folder), validate=None, resume=False)
        with (Path(folder) / "log.csv").open() as stream:
            rows = list(csv.DictReader(stream))
    seconds = [float(row["seconds"]) for row in rows]
    return np.diff(seconds)[2:].tolist(), float(rows[-1]["wait_share"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--data", type=Path)
    parser.add_argument("-p", "--pipeline", default="brain_infarct")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    pipeline = load_pipeline(arguments.pipeline, ["training.max_minutes=null", f"training.max_steps={arguments.steps}"])
    settings = pipeline.training
    with tempfile.TemporaryDirectory() as folder:
        manifest = load_manifest(arguments.data or synthetic(Path(folder)))
        splits = split_patients(manifest, pipeline.split, seed=0)
        stores, plan, _ = prepare_training(pipeline, manifest, splits, workers=2)
        detector = build_detector(pipeline.detector, pipeline.classes)
        samples = TrainingSamples(
            stores["train"], detector, patch_size=plan.patch_size, sampling=pipeline.sampling,
            augmentation=pipeline.augmentation, positives=[True] * len(stores["train"].cases),
            length=arguments.steps * plan.batch_size, seed=0,
        )  # fmt: skip
        few = [samples[number] for number in range(4 * plan.batch_size)]
        batches = list(torch.utils.data.DataLoader(few, batch_size=plan.batch_size))
        network = network_for(pipeline, plan, detector).to(device)
        plan = choose_execution(network, detector.loss, batches[0], plan, settings)
        times = {"bare": [], "same batches": [], "own samples": []}
        waits = []
        for _ in range(arguments.rounds):
            times["bare"] += bare(copy.deepcopy(network), detector, batches, plan, settings, device, arguments.steps)
            fixed = Fixed(few, len(samples))
            in_memory = settings.model_copy(update={"workers": 0})
            times["same batches"] += ours(copy.deepcopy(network), detector, fixed, plan, in_memory)[0]
            step_times, wait = ours(copy.deepcopy(network), detector, samples, plan, settings)
            times["own samples"] += step_times
            waits.append(wait)
    print(plan.reasons["precision"])
    median = {name: statistics.median(values) for name, values in times.items()}
    for name, value in median.items():
        print(f"{name:<14} {value:.4f} s a step, {value / median['bare']:.3f} of the bare loop")
    print(f"waiting for data: {statistics.median(waits):.1%} of the time with own samples")


if __name__ == "__main__":
    main()
