"""The whole way on sample data: prepare, train, predict, evaluate, report."""

import logging
import shutil
from pathlib import Path

from medseg.data.sample import make_radiographs
from medseg.errors import OutputError
from medseg.experiment.evaluation import evaluate_predictions
from medseg.experiment.summary import summary_lines
from medseg.files import read_json, write_json
from medseg.inference.batch import predict_batch
from medseg.inference.model import WEIGHTS, load_model
from medseg.training.loop import LAST
from medseg.training.train import train

__all__ = ["run_demo"]

logger = logging.getLogger(__name__)


def run_demo(output: str | Path, *, minutes: float = 2.0, n_exams: int = 120) -> list[Path]:
    """Make sample radiographs, train the nodule detector on them and evaluate it.

    A run that was killed goes on where it stopped; a finished one is evaluated again.

    Returns
    -------
    list of Path
        Run, prediction and evaluation folders and the data set, for a report.
    """
    output = Path(output)
    settings = {"minutes": minutes, "n_exams": n_exams}
    stamp = output / "demo.json"
    if output.is_dir() and any(output.iterdir()) and not stamp.is_file():
        raise OutputError(f"{output}: is not empty and no demonstration; choose another folder")
    if stamp.is_file() and read_json(stamp) != settings:
        raise OutputError(f"{output}: holds a demonstration with other settings; choose another folder")
    write_json(stamp, settings)
    data = make_radiographs(output / "data", n_exams=n_exams).parent
    run = output / "run"
    if not (run / WEIGHTS).is_file():
        overrides = (f"training.max_minutes={minutes}", f"training.validate_every_minutes={max(minutes / 3, 0.02)}")
        resume = (run / LAST).is_file()
        if not resume and run.is_dir():
            shutil.rmtree(run)  # killed before its first checkpoint
        train("chest_xray_nodule", data, run, overrides=overrides, resume=resume)
    predictions, evaluation = output / "predictions", output / "evaluation"
    predict_batch(load_model(run), data, predictions, subset="test", resume=True, show_reference=True)
    result, _ = evaluate_predictions(predictions, data, evaluation)
    logger.info("test part:")
    for line in summary_lines(result):
        logger.info("%s", line)
    return [evaluation, run, predictions, data]
