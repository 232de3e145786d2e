"""medseg against nnU-Net: the same patients, the same minutes of training, the same evaluation.

    python scripts/bench/vs_nnunet.py PIPELINE -d DATASET -o FOLDER --nnunet PYTHON [--minutes 30] [--batch 12]

PYTHON is the interpreter of an environment with nnU-Net 2.8.1 (`nnunet_program.py` runs in it). medseg trains first and
splits the patients; nnU-Net trains on the same training part. Planning, preprocessing and prediction do not count. Both
give probabilities of the test part; candidates and case scores are decoded from both maps in one way, medseg's, since
nnU-Net has none, so that only the maps differ. Masks: nnU-Net's at 0.5 (its own rule for two classes), medseg's at its
threshold. Ends with the table of `medseg compare`: paired intervals of medseg minus nnU-Net. Finished parts are kept,
so that a second call goes on. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from map_predictions import write_predictions

from medseg.config import load_pipeline
from medseg.data.manifest import Case, load_manifest
from medseg.imaging import read, write_mask, write_volume

NAME = "Dataset001_bench"


def medseg(*arguments: str) -> None:
    """Run a command of medseg."""
    subprocess.run([sys.executable, "-m", "medseg", *arguments], check=True)


def lay_out(cases: dict[str, list[Case]], root: Path, *, flat: bool) -> None:
    """Write the data set in nnU-Net's layout."""
    raw = root / "raw" / NAME
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / folder).mkdir(parents=True, exist_ok=True)
    ending = ".png" if flat else ".nii.gz"
    for part, own in cases.items():
        for case in own:
            images = raw / ("imagesTs" if part == "test" else "imagesTr") / f"{case.case_id}_0000{ending}"
            _image(Path(case.images[0]), images, flat=flat)
            if part != "test":
                _label(case, raw / "labelsTr" / f"{case.case_id}{ending}", flat=flat)
    content = {
        "channel_names": {"0": cases["train"][0].modality or "image"}, "labels": {"background": 0, "lesion": 1},
        "numTraining": len(cases["train"]) + len(cases["val"]), "file_ending": ending,
    }  # fmt: skip
    (raw / "dataset.json").write_text(json.dumps(content))
    splits = {part: [case.case_id for case in cases[part]] for part in ("train", "val")}
    (root / "splits.json").write_text(json.dumps(splits))


def _image(source: Path, target: Path, *, flat: bool) -> None:
    if flat and source.suffix == ".png":
        shutil.copyfile(source, target)
    else:
        write_volume(target, read(source))


def _label(case: Case, target: Path, *, flat: bool) -> None:
    from PIL import Image

    if flat:
        Image.fromarray((np.asarray(Image.open(case.mask)) > 0).astype(np.uint8)).save(target)
        return
    grid = read(case.images[0]).grid
    mask = np.zeros(grid.shape, bool) if case.mask is None else read(case.mask).array[0] > 0
    write_mask(target, mask, grid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline")
    parser.add_argument("-d", "--data", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--nnunet", required=True, metavar="PYTHON", help="interpreter that has nnU-Net")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--batch", type=int, help="nnU-Net's batch; its plan is for a GPU")
    parser.add_argument("overrides", nargs="*", help="key=value of the pipeline")
    arguments = parser.parse_intermixed_args()
    output, run = arguments.output, arguments.output / "run"
    if not (run / "plan.json").is_file():
        budget = f"training.max_minutes={arguments.minutes:g}"
        medseg("train", arguments.pipeline, "-d", arguments.data, "-o", str(run), budget, *arguments.overrides)
    pipeline, root = load_pipeline(run / "pipeline.yaml"), output / "nnunet"
    splits = json.loads((run / "splits.json").read_text())["cases"]
    cases: dict[str, list[Case]] = {"train": [], "val": [], "test": []}
    for case in load_manifest(arguments.data).cases:
        if splits.get(case.case_id) in cases:
            cases[splits[case.case_id]].append(case)
    flat = pipeline.input.dimensions == 2
    if not (root / "about.json").is_file():
        lay_out(cases, root, flat=flat)
        program = [arguments.nnunet, str(Path(__file__).with_name("nnunet_program.py")), str(root), "--name", NAME]
        program += ["--configuration", "2d" if flat else "3d_fullres", "--minutes", str(arguments.minutes)]
        program += ["--batch", str(arguments.batch)] if arguments.batch else []
        subprocess.run(program, check=True)

    def nnunet_map(case: Case) -> np.ndarray:
        return np.load(root / "probabilities" / f"{case.case_id}.npz")["probabilities"][1].astype(np.float32)

    write_predictions(output / "predictions_nnunet", "nnunet", pipeline, cases["test"], nnunet_map)
    ours = str(output / "predictions_medseg")
    medseg("predict", "-m", str(run), "-i", arguments.data, "-o", ours, "--subset", "test", "--save",
           "mask,probability", "--resume")  # fmt: skip
    for name in ("medseg", "nnunet"):
        medseg("evaluate", "-p", str(output / f"predictions_{name}"), "-d", arguments.data, "-o", str(output / name))
    medseg("compare", str(output / "medseg"), str(output / "nnunet"), "-o", str(output / "compared"))
    print((root / "about.json").read_text())


if __name__ == "__main__":
    main()
