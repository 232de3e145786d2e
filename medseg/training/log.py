"""``log.csv`` of a run, and the same for TensorBoard."""

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from medseg.errors import CheckpointError
from medseg.files import output_errors, read_csv, write_csv

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["LOG_COLUMNS", "TrainingLog"]

LOG_COLUMNS = (
    "step", "epoch", "loss", "lr", "grad_norm", "skipped", "seconds", "samples_per_second", "wait_share",
    "validation_metric", "validation_value", "validation",
)  # fmt: skip


class TrainingLog:
    """One row a step, appended; a resumed run first drops the rows after its checkpoint.

    Parameters
    ----------
    run : Path
        The run folder.
    first_step : int
        Number of steps that are already done.
    tensorboard : bool
        Also write event files below ``tensorboard/``.
    """

    def __init__(self, run: Path, *, first_step: int, tensorboard: bool) -> None:
        path = run / "log.csv"
        rows: list[dict[str, str]] = []
        if first_step and path.is_file():
            _, rows = _read_whole_rows(path)
        try:
            kept = [row for row in rows if int(row["step"]) <= first_step]
        except ValueError as error:
            raise CheckpointError(f"{path}: damaged, a step is not a number ({error}); restore or delete it") from error
        write_csv(path, LOG_COLUMNS, kept)
        self._path = path
        self._stream: TextIO = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._stream, LOG_COLUMNS, lineterminator="\n")
        self._board: SummaryWriter | None = None
        if tensorboard:
            from torch.utils import tensorboard as board

            self._board = board.SummaryWriter(str(run / "tensorboard"), purge_step=first_step + 1)

    def write(self, row: dict[str, float | int | str]) -> None:
        """Append one row; numbers also go to TensorBoard."""
        cells = {key: repr(value) if isinstance(value, float) else value for key, value in row.items()}
        with output_errors(self._path):
            self._writer.writerow(cells)
        if self._board is None:
            return
        for key, value in row.items():
            if isinstance(value, int | float) and key not in ("step", "epoch") and math.isfinite(value):
                self._board.add_scalar(key, value, int(row["step"]))

    def flush(self) -> None:
        """Bring what was written to disk."""
        with output_errors(self._path):
            self._stream.flush()

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        if self._board is not None:
            self._board.close()


def _read_whole_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Rows of a log whose last line may have been cut off by a kill."""
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    return read_csv(path, needs=("step",))
