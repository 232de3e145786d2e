"""Writing files atomically: a reader sees the old file or the whole new one, never a part."""

import csv
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medseg.errors import MedsegError, OutputError, TableError

__all__ = [
    "atomic_path",
    "content_hash",
    "exclusive",
    "files_below",
    "is_safe_name",
    "output_errors",
    "read_csv",
    "read_json",
    "safe_name",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_text",
]


@contextmanager
def output_errors(path: str | Path) -> Iterator[None]:
    """Turn what the file system says about writing to `path` into an `OutputError` of one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(f"{path}: the disk is full; free some space and run the command again") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        if error.errno is None or error.errno == errno.EFBIG:  # NumPy and pydicom say only how much they could write
            raise OutputError(f"{path}: could not be written whole; is the disk full?") from error
        raise


LOCK = ".lock"
_held: set[Path] = set()  # by this process, whose own locks the system does not hold against it


@contextmanager
def exclusive(folder: str | Path) -> Iterator[None]:
    """Keep other processes from writing into `folder` at the same time; the lock ends with the process.

    Raises
    ------
    OutputError
        When another process has it, or the folder cannot be written.
    """
    folder = Path(folder)
    busy = OutputError(f"{folder}: another process is writing here; wait for it, or choose another")
    place = folder.resolve()
    if place in _held:  # before the file is opened again: closing it would end the lock
        raise busy
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("w")
    with stream:
        try:
            # unlike flock, not shared with forked workers, which may outlive a process that is killed
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise busy from None
        except OSError:
            pass  # a file system without locks
        _held.add(place)
        try:
            yield
        finally:
            _held.discard(place)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that is renamed to it on success.

    The temporary name keeps every suffix of `path`, because libraries choose a format by it.

    Raises
    ------
    OutputError
        When the disk is full or the folder cannot be written; no partial file is left.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder, the name of a file was expected")
    temporary: Path | None = None
    try:
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".partial-", suffix="".join(path.suffixes[-2:]), dir=path.parent)
            os.close(handle)
            temporary = Path(name)
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON atomically; a number that is not finite becomes null."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path, *, needs: Sequence[str] = (), error: type[MedsegError] = OutputError) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    MedsegError
        Of the class `error`: the file is missing, damaged, not an object, or lacks one of the keys `needs`.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except ValueError as problem:
        raise error(f"{path}: damaged, not readable as JSON ({problem})") from problem
    if not isinstance(content, dict):
        raise error(f"{path}: damaged, a JSON object was expected, found {type(content).__name__}")
    for key in needs:
        if key not in content:
            raise error(f"{path}: damaged or of another version, it has no {key}")
    return content


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows` as CSV atomically; None and NaN become empty cells, floats keep full precision."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(row.get(column)) for column in columns])


def _cell(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, float) else value


def read_csv(path: str | Path, *, needs: Sequence[str] = ()) -> tuple[list[str], list[dict[str, str]]]:
    """Read a CSV file with a header into its column names and one dictionary a row.

    Raises
    ------
    TableError
        When the file is missing, not UTF-8 text, empty, lacks one of the columns `needs`, or a row has more or
        fewer cells than the header, or a cell over several lines.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = []
            for line, row in enumerate(reader, start=2):
                if None in row:
                    raise TableError(f"{path}, line {line}: more cells than the header's {len(columns)} columns")
                if None in row.values():
                    raise TableError(f"{path}, line {line}: fewer cells than the header's {len(columns)} columns")
                if any("\n" in value for value in row.values()):
                    raise TableError(f"{path}, line {line}: a cell goes over several lines; is a quote not closed?")
                rows.append({key: value.strip() for key, value in row.items()})
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error, IsADirectoryError) as error:
        raise TableError(f"{path}: not a CSV table in UTF-8 ({error})") from error
    if not columns:
        raise TableError(f"{path}: empty, a header line was expected")
    if len(set(columns)) != len(columns):
        raise TableError(f"{path}: a column is named twice in the header {columns}")
    for name in needs:
        if name not in columns:
            hint = "; are its columns separated by commas?" if len(columns) == 1 else ""
            raise TableError(f"{path}: the column {name} is missing; found {', '.join(columns)}{hint}")
    return columns, rows


SAFE_NAME = re.compile(r'^\w[^/\\:*?"<>|#\x00-\x1f]*$')


def is_safe_name(text: str) -> bool:
    """Whether `text` can name a file or folder on every system."""
    return bool(SAFE_NAME.match(text))


def safe_name(text: str) -> str:
    """Turn `text` into a name for a file or folder.

    Examples
    --------
    >>> safe_name("image (1)"), safe_name("-a:b")
    ('image (1)', '_-a_b')
    """
    name = re.sub(r'[/\\:*?"<>|#\x00-\x1f]', "_", text)
    return name if is_safe_name(name) else f"_{name}"


def files_below(path: Path, *, exclude: Path | Collection[Path] | None = None) -> list[Path]:
    """List the files at or below `path` in order, through links to folders, without hidden ones.

    Parameters
    ----------
    exclude : Path or collection of Path, optional
        Folders and files that are left out with all they hold: the output, where it lies inside the source.
    """
    if path.is_file():
        return [path]
    listed = [exclude] if isinstance(exclude, Path) else exclude or ()
    left_out = {place for item in listed for place in (item.resolve(), item.parent.resolve() / item.name)}
    seen: set[Path] = set()
    found: list[Path] = []
    for folder, folders, files in os.walk(path, followlinks=True):
        place = Path(folder).resolve()
        if place in seen or place in left_out:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in files if not name.startswith(".") and place / name not in left_out]
    return sorted(found)


def content_hash(paths: Iterable[Path], *, update: Callable[[int], None] | None = None) -> str:
    """SHA-256 over the bytes of `paths` in order, as hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                if update is not None:
                    update(len(block))
    return digest.hexdigest()
