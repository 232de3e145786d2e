"""What a second stage gains, on synthetic CT: nodules of LIDC shapes among vessels, ribs and scars made by computer.

    python scripts/bench/false_positive_reduction.py --exams 64 --output figures.json

Every exam is one real CT (or the phantom, where that cannot be fetched) with inserted nodules and distractors; exams
are split into training, validation and test by exam. The first stage is not trained, so that its candidates in every
part are like those of new images: maxima of differences of Gaussians, ranked by how round they are (the dot filter of
Li 2003, doi:10.1118/1.1581411). FROC on the test exams before and after, with the paired bootstrap by exam. The null
twice: the labels of the training candidates permuted, and crops of noise.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from distractors import insert_distractors
from scipy import ndimage

from medseg.data.preprocess import Prepared, grid_of_part
from medseg.data.sample.chest import load_chest
from medseg.data.sample.lidc import nodule_shapes
from medseg.data.sample.nodules import insert_nodules
from medseg.detectors.fusion import fit_fusion
from medseg.detectors.second_stage_settings import SecondStageSettings
from medseg.evaluation import match_marks, paired_bootstrap, roc_auc
from medseg.evaluation.froc import LesionLevels, sensitivity_at
from medseg.evaluation.resampling import Resampling
from medseg.inference.second_stage import crop_scores, crops_at
from medseg.lesion import equivalent_diameter
from medseg.seeds import child_seed
from medseg.training.crop_batches import CropSet, central, crop_margin
from medseg.training.second_stage import fit_crops

RATES = np.array([0.125, 0.25, 0.5, 1, 2, 4, 8])
SIGMAS = (1.2, 1.8, 2.7, 4.0)  # voxels of 2 mm
NOISE_HU = 25.0


def lungs_alone(chest):
    """The chest cut to its lungs and a margin."""
    spans = []
    for axis in range(3):
        line = np.flatnonzero(chest.lungs.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(max(line[0] - 12, 0), line[-1] + 13))
    part = tuple(spans)
    arrays = {name: getattr(chest, name)[part] for name in ("hounsfield", "lungs", "lung_depth_mm")}
    z, y, x = arrays["lungs"].shape
    whole = tuple(slice(s.start, s.start + n) for s, n in zip(part, (z, y, x)))
    return replace(chest, grid=grid_of_part(chest.grid, whole), **arrays)


def simulate(chest, shapes, n_distractors, random):
    """Image on a scale of 0 to 1, and centre (index x, y, z) and diameter in mm of each nodule."""
    inserted = insert_nodules(chest, shapes, int(random.integers(0, 5)), random)
    values, labels = inserted.hounsfield, inserted.labels
    insert_distractors(values, labels, chest.lung_depth_mm, n_distractors, random)
    noise = ndimage.gaussian_filter(random.normal(0, 1, values.shape).astype(np.float32), 0.6)
    image = np.clip((values + noise * (NOISE_HU / noise.std()) + 1000) / 1400, 0, 1).astype(np.float32)
    voxel = chest.grid.voxel_size
    lesions = []
    for number in np.unique(labels[labels > 0]):
        z, y, x = ndimage.center_of_mass(labels == number)
        diameter = equivalent_diameter((labels == number).sum() * voxel, dimensions=3)
        lesions.append((x, y, z, float(diameter)))
    return image, lesions


def blobs(image, lungs, limit):
    """Index (x, y, z) and score of the roundest maxima of differences of Gaussians inside the lungs."""
    smooth = [ndimage.gaussian_filter(image, sigma, truncate=3) for sigma in SIGMAS]
    responses = np.stack([fine - coarse for fine, coarse in pairwise(smooth)])
    response = responses.max(axis=0)
    peak = (response == ndimage.maximum_filter(response, 5)) & lungs & (response > 0.02)
    places = np.argwhere(peak)
    scale = responses[:, peak].argmax(axis=0)
    strength = np.array([roundness(smooth[s], place, SIGMAS[s]) for s, place in zip(scale, places)])
    order = np.argsort(-strength)[:limit]
    return places[order][:, ::-1].astype(float), 1 - np.exp(-4 * strength[order])


def roundness(smooth, place, sigma):
    """Dot filter at a place of a smoothed image: smallest curvature squared over the largest, 0 unless a bright dot."""
    low = np.clip(place - 1, 0, np.array(smooth.shape) - 3)
    block = smooth[tuple(slice(a, a + 3) for a in low)]
    first = [np.gradient(block, axis=axis) for axis in range(3)]
    hessian = np.array([[np.gradient(first[a], axis=b)[1, 1, 1] for b in range(3)] for a in range(3)])
    for axis in range(3):  # second differences over one voxel
        line = np.take(np.moveaxis(block, axis, 0), range(3), axis=0)[:, 1, 1]
        hessian[axis, axis] = line[0] - 2 * line[1] + line[2]
    curvature = -np.linalg.eigvalsh((hessian + hessian.T) / 2) * sigma**2  # falling
    return curvature[2] ** 2 / curvature[0] if curvature[2] > 0 else 0.0


def make_exams(chest, arguments, settings):
    """For each exam: candidates in mm with scores and crops, lesions with crops, and whether each candidate hits."""
    shapes, exams = nodule_shapes(), []
    lungs = ndimage.binary_dilation(ndimage.binary_closing(chest.lungs, iterations=4), iterations=1)
    for number in range(arguments.exams):
        random = np.random.default_rng(child_seed(arguments.seed, "exam", number))
        image, lesions = simulate(chest, shapes, arguments.distractors, random)
        index, score = blobs(image, lungs, arguments.candidates)
        places = chest.grid.to_world(index)
        centres = chest.grid.to_world(np.array([lesion[:3] for lesion in lesions]).reshape(-1, 3))
        diameter = np.array([lesion[3] for lesion in lesions])
        apart = np.linalg.norm(places[:, None] - centres[None], axis=2) < diameter / 2
        missed = centres[~apart.any(axis=0)]
        prepared = Prepared(image[None], chest.grid, chest.grid)
        every = np.concatenate([places, missed])
        crops = crops_at(prepared, every, settings, margin=crop_margin(settings)).astype(np.float16)
        exams.append(
            {
                "name": f"exam{number:03d}", "places": places, "score": score, "hit": apart.any(axis=1),
                "crops": crops, "centres": centres, "diameter": diameter,
            }
        )  # fmt: skip
    return exams


def candidates_of(exams):
    """Crops, outcomes and first scores of the candidates alone."""
    crops = np.concatenate([exam["crops"][: len(exam["score"])] for exam in exams])
    return crops, *(np.concatenate([exam[name] for exam in exams]) for name in ("hit", "score"))


def matches_of(exams, scores):
    """Match marks whose scores are `scores` with the nodules."""
    names = [exam["name"] for exam in exams]
    places = np.concatenate([exam["places"] for exam in exams])
    marks = {"case_id": np.repeat(names, [len(exam["score"]) for exam in exams]), "score": scores}
    centres = np.concatenate([exam["centres"] for exam in exams])
    lesions = {
        "case_id": np.repeat(names, [len(exam["diameter"]) for exam in exams]),
        "diameter_mm": np.concatenate([exam["diameter"] for exam in exams]),
    }
    for axis, name in enumerate("xyz"):
        marks[name], lesions[name] = places[:, axis], centres[:, axis]
    return match_marks({"case_id": names}, marks, lesions, rule="distance")


def cpm_of(matches):
    levels = LesionLevels(matches)
    return lambda weights: sensitivity_at(*levels.corners(weights), RATES).mean(axis=1)


def noise_like(crops, seed):
    random = np.random.default_rng(seed)
    return np.stack([random.random(crop.shape, np.float32).astype(np.float16) for crop in crops])


def trained_gain(parts, settings, *, kind, seed):
    """Train, fuse on validation, compare on the test exams."""
    began = time.monotonic()
    training = np.concatenate([exam["crops"] for exam in parts["train"]])
    positive = np.concatenate(
        [np.append(exam["hit"], np.ones(len(exam["crops"]) - len(exam["hit"]), bool)) for exam in parts["train"]]
    )
    judged = {part: candidates_of(parts[part]) for part in ("val", "test")}
    crops = {part: judged[part][0] for part in judged}
    if kind == "labels permuted":
        positive = np.random.default_rng(child_seed(seed, kind)).permutation(positive)
    if kind == "crops of noise":
        training = noise_like(training, 1)
        crops = {part: noise_like(values, number) for number, (part, values) in enumerate(crops.items(), start=2)}
    with tempfile.TemporaryDirectory() as folder:
        network = fit_crops(CropSet(training, positive), settings, Path(folder))
    second = {
        p: crop_scores(network, central(torch.from_numpy(v), settings.n_voxels).numpy()) for p, v in crops.items()
    }
    fusion = fit_fusion(judged["val"][1], judged["val"][2], second["val"])
    _, hit, first = judged["test"]
    fused = fusion.apply(first, second["test"])
    before, after = (matches_of(parts["test"], scores) for scores in (first, fused))
    resampling = Resampling.of(None, n_cases=before.n_cases, n_replicates=2000, seed=seed)
    found = paired_bootstrap(cpm_of(after), cpm_of(before), resampling, method="percentile")
    one = np.ones((1, before.n_cases))
    return {
        "second_stage": kind, "fusion": fusion.content(),
        "n": {"train": len(positive), "train_positive": int(positive.sum()), "test_exams": before.n_cases,
              "test_nodules": before.n_lesions, "test_candidates": len(hit), "test_hits": int(hit.sum())},
        "auc_of_candidates": [float(roc_auc(hit, scores)) for scores in (first, second["test"], fused)],
        "sensitivity_before": sensitivity_at(*LesionLevels(before).corners(one), RATES)[0].round(4).tolist(),
        "sensitivity_after": sensitivity_at(*LesionLevels(after).corners(one), RATES)[0].round(4).tolist(),
        "cpm_before": found.value_b, "cpm_after": found.value_a, "gain": found.difference,
        "gain_interval": [None if np.isnan(v) else v for v in (found.low, found.high)],
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("exams", 64), ("distractors", 6), ("candidates", 20), ("epochs", 10), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = SecondStageSettings(
        sizes=(24, 48), n_voxels=16, network={"name": "crop_cnn", "filters": (12, 24, 48)}, epochs=arguments.epochs,
        batch_size=32, learning_rate=3e-3, seed=arguments.seed,
    )  # fmt: skip
    began = time.monotonic()
    chest = lungs_alone(load_chest())
    exams = make_exams(chest, arguments, settings)
    print(f"{len(exams)} synthetic exams of {'one real CT' if chest.real else 'a phantom'}, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    first, second = round(0.4 * len(exams)), round(0.65 * len(exams))
    parts = {"train": exams[:first], "val": exams[first:second], "test": exams[second:]}
    results = []
    for kind in ("trained", "labels permuted", "crops of noise"):
        results.append(trained_gain(parts, settings, kind=kind, seed=arguments.seed))
        print(json.dumps(results[-1], indent=1), flush=True)
    if arguments.output:
        content = {"synthetic": True, "real_ct": chest.real, "results": results}
        arguments.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
