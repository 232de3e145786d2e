"""What a process does that trains one fold of a cross-validation."""

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from medseg.experiment.folds import said_of
from medseg.files import write_json
from medseg.processes import end_with
from medseg.training.train import train

__all__ = ["serve"]


def serve() -> None:
    """Train the fold that the argument, a JSON object, names; how that ended is left in a file."""
    call: dict[str, Any] = json.loads(sys.argv[1])
    end_with(call["parent"])
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("medseg").setLevel(call["level"])
    for name in call["silent"]:  # libraries that would quote the headers of images
        logging.getLogger(name).disabled = True
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
    error = ""
    try:
        train(
            Path(call["pipeline"]), call["data"], call["run"],
            fold=call["fold"], resume=call["resume"], device=call["device"],
        )  # fmt: skip
    except (KeyboardInterrupt, Exception) as problem:  # whatever it is: the process that asked names it
        error = said_of(problem)
    write_json(call["outcome"], {"error": error})
