"""What a brain_infarct run is compared with: MONAI's BasicUNet in plain code (basicunet.py), and brightness alone.

    python scripts/bench/brain_infarct_baselines.py basicunet -d DATASET -r RUN -o PREDICTIONS --minutes 15
    python scripts/bench/brain_infarct_baselines.py brightness -d DATASET -r RUN -o PREDICTIONS

Uses the split of RUN, trains for the same time in eager float32, and writes a prediction folder of the test part that
`medseg evaluate` takes. Candidates and case scores are decoded as medseg does it, so that only the map differs.
Brightness is the grey value's z-score inside the brain, brought to 0 to 1; its mask threshold, 2, is not tuned.
"""

import argparse
import json
from pathlib import Path

import basicunet
import numpy as np
from map_predictions import write_predictions

from medseg.config import load_pipeline
from medseg.data.manifest import load_manifest
from medseg.imaging import read


def brightness(path):
    image = read(path).array[0]
    inside = image[image > 0]
    z_score = (image - inside.mean()) / inside.std()
    return np.where(image > 0, 1 / (1 + np.exp(2 - z_score)), 0).astype(np.float32)


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
    map_of = brightness
    if arguments.kind == "basicunet":
        training = [case for case in cases if splits[case.case_id] == "train"]
        network = basicunet.train([c.images[0] for c in training], [c.mask for c in training], arguments.minutes)

        def map_of(path):
            return basicunet.probability_of(network, path)

    tested = (case for case in cases if splits[case.case_id] == "test")
    write_predictions(arguments.output, arguments.kind, pipeline, tested, lambda case: map_of(case.images[0]))


if __name__ == "__main__":
    main()
