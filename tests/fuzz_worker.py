"""A process of its own that reads damaged files: it may hang, crash or run out of memory without harm to the tests."""

import resource
import time
import traceback
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

SECONDS = 10.0  # for one file or series
MEMORY = 6 * 2**30  # bytes of address space, of which libraries take about 2 GiB


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file: `kind` is volume, rejected, error, hang or crash; `text` what is wrong, or the reason."""

    kind: str
    text: str
    seconds: float = 0.0


class Reader:
    """Reads in a worker process, which is started anew after a hang or crash."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()  # imports done

    def read(self, path: Path, files: list[Path]) -> Outcome:
        """Read `path` and compare the geometry with what the headers of `files` state."""
        self._pipe.send((path, files))
        try:
            if self._pipe.poll(SECONDS):
                return self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._start()
            return Outcome("crash", f"the process ended with {code}")
        self._process.kill()
        self._process.join()
        self._start()
        return Outcome("hang", f"no answer after {SECONDS} s", SECONDS)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection) -> None:
    import warnings

    import SimpleITK as sitk
    from dicom_stated import invention

    from medseg.errors import MedsegError
    from medseg.imaging import inspect, read

    warnings.simplefilter("ignore")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    pipe.send(None)
    while True:
        path, files = pipe.recv()
        began = time.monotonic()
        try:
            statuses = [entry["status"] for entry in inspect([path])["series"]]
            volume = read(path)
            found = "inspect rejects it" if "rejected" in statuses else invention(volume, files)
            outcome = ("volume", found)
        except MedsegError as error:
            outcome = ("rejected", str(error))
        except BaseException:  # whatever a reader lets through is what this test looks for
            outcome = ("error", traceback.format_exc()[-1500:])
        pipe.send(Outcome(*outcome, time.monotonic() - began))
