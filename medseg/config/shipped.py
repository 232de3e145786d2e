"""The pipelines that come with medseg."""

import difflib
from importlib import resources
from pathlib import Path

from medseg.errors import ConfigError

__all__ = ["find_shipped", "list_shipped"]


def list_shipped() -> dict[str, Path]:
    """Name and file of each shipped pipeline."""
    folder = Path(__file__).parents[2] / "pipelines"  # in a checkout
    if not folder.is_dir():
        folder = Path(str(resources.files("medseg_pipelines")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_shipped(name: str) -> Path:
    """File of the shipped pipeline called `name`.

    Raises
    ------
    ConfigError
        When there is none, with the names that exist.
    """
    shipped = list_shipped()
    if name in shipped:
        return shipped[name]
    close = difflib.get_close_matches(name, shipped, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ConfigError(f"pipeline '{name}': neither a file nor shipped{hint}; shipped are {', '.join(shipped)}")
