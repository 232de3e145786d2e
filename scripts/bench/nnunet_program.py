"""nnU-Net on a data set in its own layout: what vs_nnunet.py starts with the interpreter that has nnU-Net.

    python nnunet_program.py ROOT --name Dataset001_bench --configuration 2d --minutes 30 [--batch 12]

ROOT holds ``raw/NAME/{imagesTr,labelsTr,imagesTs,dataset.json}`` and ``splits.json`` (``train``, ``val``). Fingerprint,
plan and preprocessing are nnU-Net's own and are not counted; the training is its trainer, network, loss, augmentation
and deep supervision, with epochs of 25 steps instead of 250, and a learning rate that falls by the clock, so that the
schedule ends when the time does. Probabilities of imagesTs, with its mirroring, go to ``ROOT/probabilities``.
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch

EPOCH = 25  # steps
CHECKED = 3  # validation batches an epoch; 50 after 250 steps in the original
DATASET = 1


def define_missing_operators():
    """torchvision, which nnU-Net imports and does not use here, asks for its compiled operators: name them."""
    library = torch.library.Library("torchvision", "DEF")
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    library.define(f"nms{boxes}")
    library.define(f"qnms{boxes}")
    return library


def clocked(trainer_class, minutes):
    """The trainer with a budget of time."""

    class Clocked(trainer_class):
        began = None

        def progress(self):
            return min(1.0, (time.monotonic() - self.began) / (60 * minutes))

        def on_train_epoch_start(self):
            super().on_train_epoch_start()
            for group in self.optimizer.param_groups:
                group["lr"] = self.initial_lr * (1 - self.progress()) ** 0.9

        def run_training(self):
            self.on_train_start()
            steps, self.began = 0, time.monotonic()
            while self.progress() < 1:
                self.on_epoch_start()
                self.on_train_epoch_start()
                outputs = []
                while len(outputs) < EPOCH and self.progress() < 1:
                    outputs.append(self.train_step(next(self.dataloader_train)))
                steps += len(outputs)
                self.on_train_epoch_end(outputs)
                with torch.no_grad():
                    self.on_validation_epoch_start()
                    checked = [self.validation_step(next(self.dataloader_val)) for _ in range(CHECKED)]
                    self.on_validation_epoch_end(checked)
                self.on_epoch_end()
            seconds = time.monotonic() - self.began
            self.on_train_end()
            return steps, seconds

    Clocked.__name__ = "nnUNetTrainer"  # the folder of its results is named after it
    return Clocked


def plan(root, name, configuration, batch):
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    api.extract_fingerprints([DATASET], num_processes=2)
    api.plan_experiments([DATASET])
    path = root / "preprocessed" / name / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    if batch:
        plans["configurations"][configuration]["batch_size"] = batch
        path.write_text(json.dumps(plans))
    api.preprocess([DATASET], configurations=[configuration], num_processes=[2])
    splits = json.loads((root / "splits.json").read_text())
    (root / "preprocessed" / name / "splits_final.json").write_text(json.dumps([splits]))
    return plans["configurations"][configuration]


def predict(trainer, root, name):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    network = trainer.network
    network.decoder.deep_supervision = False
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.manual_initialization(
        network, trainer.plans_manager, trainer.configuration_manager, [network.state_dict()], trainer.dataset_json,
        "nnUNetTrainer", trainer.inference_allowed_mirroring_axes,
    )  # fmt: skip
    images = sorted((root / "raw" / name / "imagesTs").iterdir())
    output = root / "probabilities"
    output.mkdir(exist_ok=True)
    names = [one.name.split("_0000")[0] for one in images]
    predictor.predict_from_files_sequential(
        [[str(one)] for one in images], [str(output / one) for one in names], save_probabilities=True
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--configuration", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int)
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    for kind in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{kind}"] = str(root / kind)
    os.environ |= {"nnUNet_n_proc_DA": "2", "nnUNet_compile": "false", "nnUNet_def_n_proc": "2"}
    library = define_missing_operators()
    planned = plan(root, arguments.name, arguments.configuration, arguments.batch)
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans = json.loads((root / "preprocessed" / arguments.name / "nnUNetPlans.json").read_text())
    dataset = json.loads((root / "preprocessed" / arguments.name / "dataset.json").read_text())
    trainer = clocked(nnUNetTrainer, arguments.minutes)(
        plans={**plans, "continue_training": False}, configuration=arguments.configuration, fold=0,
        dataset_json=dataset, device=torch.device("cpu"),
    )  # fmt: skip
    trainer.initialize()
    steps, seconds = trainer.run_training()
    predict(trainer, root, arguments.name)
    del library
    about = {
        "steps": steps, "seconds": seconds, "patch_size": planned["patch_size"], "batch_size": planned["batch_size"],
        "parameters": sum(one.numel() for one in trainer.network.parameters()),
    }  # fmt: skip
    (root / "about.json").write_text(json.dumps(about, indent=2))


if __name__ == "__main__":
    main()
