"""The commands; each imports what it needs in its body, so that ``--help`` is quick."""

import typer

from medseg.cli import audit, compare, demo, evaluate, fuse, images, models, predict, prepare, report, spread, train

__all__ = ["app"]

app = typer.Typer(
    name="medseg",
    help="From a folder of medical images to an evaluated lesion detector. Research use only, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (images, prepare, train, predict, evaluate, fuse, compare, spread, report, models, audit, demo):
    for command in module.COMMANDS:
        app.command()(command)
