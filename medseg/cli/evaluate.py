"""``medseg evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.failures import some_failed

__all__ = ["COMMANDS"]


def evaluate(
    output: Annotated[Path, typer.Option("-o", "--output", help="evaluation folder")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value of the evaluation's settings")] = None,
    predictions: Annotated[Path | None, typer.Option("-p", "--predictions", help="prediction folder")] = None,
    data: Annotated[Path | None, typer.Option("-d", "--data", help="data set folder or manifest")] = None,
    cases: Annotated[Path | None, typer.Option(help="table of cases")] = None,
    marks: Annotated[Path | None, typer.Option(help="table of marks")] = None,
    lesions: Annotated[Path | None, typer.Option(help="table of lesions")] = None,
    rule: Annotated[str | None, typer.Option(help="distance, luna16, inside, iou:T or ior:T")] = None,
) -> None:
    """Measure detection: AUC, partial AUC, FROC, CPM, Dice, each with its interval.

    Settings of the evaluation are changed by key=value, for example fpr_range=[0,0.2] group_by=[sex,age].
    """
    from medseg.config.load import evaluation_settings
    from medseg.errors import ConfigError
    from medseg.experiment.evaluation import evaluate_predictions, evaluate_table_files
    from medseg.experiment.summary import summary_lines

    if (predictions is None) == (cases is None):
        raise ConfigError("give either -p PREDICTIONS -d DATA, or --cases FILE")
    if predictions is not None and (marks is not None or lesions is not None):
        raise ConfigError("--marks and --lesions go with --cases; -p PREDICTIONS takes the reference from -d DATA")
    if lesions is not None and marks is None:
        raise ConfigError(
            "--lesions without --marks; where nothing was marked give a table of marks with its header only"
        )
    failures: dict[str, str] = {}
    if predictions is not None:
        if data is None:
            raise ConfigError("-p PREDICTIONS needs -d DATA, where the reference is")
        result, failures = evaluate_predictions(predictions, data, output, rule=rule, overrides=overrides or ())
    else:
        assert cases is not None
        settings = evaluation_settings(overrides or ())
        if settings.prevalence is not None and settings.threshold is None:
            raise ConfigError("prevalence needs a threshold, at which predictive values are given: threshold=…")
        result = evaluate_table_files(cases, marks, lesions, output, rule=rule, settings=settings)
    for line in summary_lines(result):
        print(line)
    some_failed(failures)


COMMANDS = (evaluate,)
