"""The command line: parse, call the library, show."""

import sys

from medseg.cli.app import app
from medseg.cli.failures import run

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the command ``medseg``."""
    sys.exit(run(app, sys.argv[1:]))
