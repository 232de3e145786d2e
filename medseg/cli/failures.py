"""Exit codes and one-line errors: 0 all done, 1 some cases failed, 2 anything else."""

import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping
from functools import partial

import typer

from medseg.errors import LESS_MEMORY, MedsegError, is_out_of_memory, naming_case
from medseg.processes import handling

__all__ = ["SomeCasesFailed", "run", "some_failed"]

# the base of what typer raises for wrong options: its own copy of click's class in newer versions, click's before
USAGE_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

INTERRUPTED = 130  # what typer makes of Ctrl-C


class SomeCasesFailed(Exception):
    """The work is complete but for the cases that failed, which are listed."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        super().__init__(f"{len(failures)} case(s) failed")
        self.failures = dict(failures)


def some_failed(failures: Mapping[str, str]) -> None:
    """Raise `SomeCasesFailed` when there are failures."""
    if failures:
        raise SomeCasesFailed(failures)


def run(app: typer.Typer, arguments: list[str]) -> int:
    """Run the command line and return the exit code.

    ``--debug`` anywhere shows tracebacks and debug messages.
    """
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    level = logging.DEBUG if debug else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("medseg").setLevel(level)
    _quiet_libraries()
    command = typer.main.get_command(app)
    try:
        with handling(partial(_interrupt, os.getpid()), signal.SIGTERM):  # as batch systems send it
            code = command.main(args=arguments, prog_name="medseg", standalone_mode=False)
        if code == INTERRUPTED:
            return _say_interrupted()
        return code if isinstance(code, int) else 0
    except SomeCasesFailed as error:
        for case_id, reason in error.failures.items():
            print(f"failed: {naming_case(reason, case_id)}", file=sys.stderr)
        print(f"{error}; the rest is complete", file=sys.stderr)
        return 1
    except USAGE_ERROR as error:
        text = f"{getattr(error, 'format_message', error.__str__)()}; see `medseg --help`"
    except (KeyboardInterrupt, typer.Abort):
        return _say_interrupted()
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        sys.stdout = None
        return 2
    except Exception as error:
        if debug:
            traceback.print_exc()
            return 2
        text = _in_one_line(error)
    print(f"medseg: error: {text}", file=sys.stderr)
    return 2


def _quiet_libraries() -> None:
    """Keep back what DICOM libraries say of odd headers: they quote the values, which may be names of patients."""
    for name in ("pydicom", "highdicom", "pynetdicom"):
        logging.getLogger(name).disabled = True  # its level is set anew when it is imported
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")


def _interrupt(owner: int, number: int, frame: object) -> None:
    """End a command as Ctrl-C does: temporary files go."""
    if os.getpid() == owner:
        raise KeyboardInterrupt
    os._exit(128 + number)  # a worker that was forked from here


def _say_interrupted() -> int:
    print("medseg: interrupted; what was finished is kept", file=sys.stderr)
    return 2


def _in_one_line(error: Exception) -> str:
    if isinstance(error, MedsegError):
        return str(error)
    if is_out_of_memory(error):
        return f"memory is used up: {LESS_MEMORY}"
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}"
    first = str(error).strip().splitlines() or [""]
    return f"unexpected {type(error).__name__}: {first[0]} (a fault of medseg; --debug shows where)"
