"""What a process does that the launcher has started: call a function, and leave what came of it in a file."""

import importlib
import logging
import os
import pickle
import shutil
import sys
import traceback
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError
from medseg.files import write_bytes
from medseg.parallel.errors import RankError
from medseg.parallel.ranks import one_line
from medseg.parallel.signs import is_lost_connection
from medseg.processes import end_with

__all__ = ["CALL", "Call", "Outcome", "load", "outcome_path", "serve"]

CALL = "call.pickle"


@dataclass(frozen=True, slots=True)
class Call:
    """What a rank is to do, and how it shall log and warn: as this process does."""

    function: str
    arguments: dict[str, Any]
    parent: int
    level: int
    silent: tuple[str, ...]
    filters: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a rank has ended."""

    value: Any = None
    error: BaseException | None = None
    lost: bool = False  # its error only says that another rank has gone


def outcome_path(folder: Path, rank: int) -> Path:
    """The file in which a rank leaves its `Outcome`."""
    return folder / f"{rank}.pickle"


def serve() -> None:
    """Do what the launcher has asked for; the main function of a rank's process."""
    folder = Path(sys.argv[1])
    call: Call = pickle.loads((folder / CALL).read_bytes())
    end_with(call.parent, partial(shutil.rmtree, folder, ignore_errors=True))  # a killed launcher leaves its folder
    _speak_like(call)
    outcome = _outcome_of(call)
    write_bytes(outcome_path(folder, int(os.environ["RANK"])), _pickled(outcome))
    if outcome.error is not None:  # the clean-up of libraries may wait for ranks that are gone
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2)


def _speak_like(call: Call) -> None:
    """Log and warn as the launcher does, which also keeps some libraries silent, as they would quote headers."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("medseg").setLevel(call.level)
    for name in call.silent:
        logging.getLogger(name).disabled = True
    warnings.resetwarnings()
    for action, message, category, module, line in call.filters:
        texts = [getattr(pattern, "pattern", pattern) or "" for pattern in (message, module)]
        warnings.filterwarnings(action, texts[0], category, texts[1], line, append=True)


def _outcome_of(call: Call) -> Outcome:
    try:
        value = load(call.function)(**call.arguments)
        return Outcome(value=value if os.environ["RANK"] == "0" else None)
    except KeyboardInterrupt as error:
        return Outcome(error=error)
    except SystemExit as error:
        return Outcome(error=RankError(f"ended with exit code {error.code}"))
    except Exception as error:  # whatever it is, the launcher names it
        told = error if isinstance(error, MedsegError) else RankError(one_line(error))
        told.add_note(traceback.format_exc())  # shown with a traceback only
        return Outcome(error=told, lost=is_lost_connection(error))


def _pickled(outcome: Outcome) -> bytes:
    try:
        content = pickle.dumps(outcome)
        pickle.loads(content)
    except Exception as error:  # pickle raises whatever the objects raise
        what = "its result" if outcome.error is None else one_line(outcome.error)
        return pickle.dumps(Outcome(error=RankError(f"{what} cannot be passed on ({one_line(error)})")))
    return content


def load(function: str) -> Any:
    """Import the function ``package.module:name``."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)
