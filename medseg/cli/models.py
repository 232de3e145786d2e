"""``medseg pipelines``."""

from typing import Annotated

import typer

from medseg.errors import ConfigError

__all__ = ["COMMANDS"]


def pipelines(
    action: Annotated[str | None, typer.Argument(help="show, to print one with every field explained")] = None,
    name: Annotated[str | None, typer.Argument(help="name of a shipped pipeline")] = None,
) -> None:
    """List the shipped pipelines, or show one."""
    from medseg.config import list_shipped, load_pipeline
    from medseg.config.describe import describe_fields

    if action is None:
        for shipped in list_shipped():
            print(f"{shipped:<22} {load_pipeline(shipped).description}")
        return
    if action != "show" or name is None:
        raise ConfigError(f"medseg pipelines {action}: expected `medseg pipelines` or `medseg pipelines show NAME`")
    for field, value, description in describe_fields(load_pipeline(name)):
        print(f"{field}: {value}    # {description}")


COMMANDS = (pipelines,)
