"""Which channels the cases of a batch lack, and how the user is told."""

import logging
from collections import Counter
from collections.abc import Sequence

from medseg.data.channel_settings import channel_names
from medseg.data.settings import InputSettings
from medseg.inference.prediction_folder import CaseRecord

__all__ = ["log_missing", "missing_channels"]

logger = logging.getLogger(__name__)


def missing_channels(images: Sequence[str | None], settings: InputSettings) -> list[str]:
    """Names of the channels without an image: those of the rules, or of the manifest's columns."""
    names = channel_names(settings.series, len(images))
    return [name for name, image in zip(names, images) if image is None]


def log_missing(records: Sequence[CaseRecord], settings: InputSettings) -> None:
    """Say once, for all cases that were predicted, how many lack which channels."""
    counts = Counter(name for record in records if record.status == "ok" for name in record.missing_channels)
    if not counts:
        return
    cases = sum(record.status == "ok" and bool(record.missing_channels) for record in records)
    order = [name for name in channel_names(settings.series, settings.channels) if name in counts]
    logger.warning(
        "%d of %d case(s) lack channels, see missing_channels in cases.csv: %s",
        cases, len(records), ", ".join(f"{name} ({counts[name]})" for name in order),
    )  # fmt: skip
