"""What a medseg run is compared with: MONAI's BasicUNet in plain code, and brightness alone.

    python scripts/bench/brain_infarct_baselines.py basicunet -d DATASET -r RUN -o PREDICTIONS --minutes 15
    python scripts/bench/brain_infarct_baselines.py brightness -d DATASET -r RUN -o PREDICTIONS

Uses the split of RUN, trains for the same time in eager float32, and writes a prediction folder of the test part that
`medseg evaluate` takes. Candidates and case scores are decoded as medseg does it, so that only the network differs.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet

from medseg.config import load_pipeline
from medseg.data.manifest import load_manifest
from medseg.detectors.candidates import to_finding
from medseg.detectors.segmentation import SegmentationDetector
from medseg.imaging import read, write_map, write_mask
from medseg.inference.prediction_folder import CaseRecord, PredictionFolder

SIZE = (192, 160)


def load(path):
    image = read(path).array[0, 0]
    inside = image[image > 0]
    padded = np.zeros(SIZE, np.float32)
    padded[: image.shape[0], : image.shape[1]] = np.where(image > 0, (image - inside.mean()) / inside.std(), -3)
    return padded


def mask_of(path):
    mask = read(path).array[0, 0] > 0
    padded = np.zeros(SIZE, np.float32)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return padded


def train(cases, minutes, seed=0):
    torch.manual_seed(seed)
    images = torch.from_numpy(np.stack([load(c.images[0]) for c in cases]))[:, None]
    masks = torch.from_numpy(np.stack([mask_of(c.mask) for c in cases]))[:, None]
    network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=1)
    loss_of = DiceCELoss(sigmoid=True, batch=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    began, step = time.monotonic(), 0
    while time.monotonic() - began < minutes * 60:
        chosen = torch.randint(len(cases), (12,))
        image, mask = images[chosen], masks[chosen]
        if torch.rand(()) < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        loss = loss_of(network(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    print(f"{step} steps")
    return network.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["basicunet", "brightness"])
    for name in ("data", "run", "output"):
        parser.add_argument(f"-{name[0]}", f"--{name}", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    arguments = parser.parse_args()
    pipeline = load_pipeline(arguments.run / "pipeline.yaml")
    splits = json.loads((arguments.run / "splits.json").read_text())["cases"]
    cases = load_manifest(arguments.data).cases
    network = None
    if arguments.kind == "basicunet":
        network = train([c for c in cases if splits[c.case_id] == "train"], arguments.minutes)
    detector = SegmentationDetector(pipeline.detector, pipeline.classes)
    evaluation = pipeline.evaluation.model_dump(mode="json")
    about = {"pipeline": arguments.kind, "evaluation": evaluation, "detector": "segmentation", "operating_point": 0.5}
    folder = PredictionFolder(arguments.output, about, resume=False)
    records = []
    for case in (c for c in cases if splits[c.case_id] == "test"):
        volume = read(case.images[0])
        height, width = volume.array.shape[2:]
        if network is None:
            probability = volume.array[0] / 255
        else:
            with torch.inference_mode():
                output = network(torch.from_numpy(load(case.images[0]))[None, None])
            probability = output.sigmoid()[0, :, :height, :width].numpy()
        candidates = detector.decode(probability[None], min_score=0.01, max_candidates=50)
        findings = [to_finding(c, working=volume.grid, source=volume.grid, classes=("infarct",)) for c in candidates]
        record = CaseRecord(case_id=case.case_id, patient_id=case.patient_id, findings=findings)
        record.score = findings[0].score if findings else 0.0
        write_map(folder.case_folder(case.case_id) / "probability.nii.gz", probability, volume.grid)
        write_mask(folder.case_folder(case.case_id) / "mask.nii.gz", probability >= 0.5, volume.grid)
        folder.add(record)
        records.append(record)
    folder.finish(records)


if __name__ == "__main__":
    main()
