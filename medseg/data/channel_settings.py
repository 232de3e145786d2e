"""Settings of which series of a study becomes which channel. Free of torch."""

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator, model_validator

from medseg.config_base import Settings

__all__ = [
    "ZEROS",
    "ChannelRule",
    "MissingChannel",
    "Registration",
    "channel_names",
    "check_rules",
    "fallback_of",
    "with_fallbacks",
]

ZEROS = "zeros"  # the fallback that is no channel
Registration = Literal["none", "rigid"]
MissingChannel = Literal["refuse", "zero"]


class ChannelRule(Settings):
    """Which series of a study is this channel; whatever is given must hold."""

    name: str = Field(min_length=1, description="name of the channel, such as arterial")
    description: str | None = Field(
        None,
        description="regular expression, searched without regard to case in the series description, the protocol "
        "name and the sequence name: one of them must match",
    )
    exclude: str | None = Field(
        None, description="regular expression like `description`: a series where one of them matches is left out"
    )
    modality: str | None = Field(None, description="DICOM modality, such as MR, CT or PT")
    part: str | None = Field(
        None,
        description="regular expression for the whole name of one volume of a series that holds several, as "
        "`medseg inspect` shows it, such as b-1000 or echo-2",
    )
    phase: int | None = Field(
        None,
        description="which of the matching series, in the order of their acquisition times and then series numbers: "
        "1 is the first, -1 the last; null: exactly one must match",
    )
    phases: int | None = Field(
        None,
        ge=1,
        description="how many series must match for `phase` to mean something; a study with another number fails "
        "(null: not checked, so that phase 2 of a study without its first is another phase)",
    )
    fallback: str | None = Field(
        None,
        description="where no series matches: the name of an earlier channel, whose image is used instead, or "
        f"`{ZEROS}`; null: the study fails",
    )

    @field_validator("description", "exclude", "part")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"'{value}' is not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _complete(self) -> "ChannelRule":
        if self.name == ZEROS:
            raise ValueError(f"a channel cannot be named {ZEROS}, which is a fallback")
        if self.description is None and self.modality is None and self.part is None:
            raise ValueError(f"channel {self.name}: give a description, a modality or a part to choose it by")
        if self.phase == 0:
            raise ValueError(f"channel {self.name}: phases are counted from 1, or from -1 backwards")
        if self.phases is not None and (self.phase is None or abs(self.phase) > self.phases):
            raise ValueError(f"channel {self.name}: phases: {self.phases} needs a phase within it, found {self.phase}")
        return self


def check_rules(rules: tuple[ChannelRule, ...], channels: int) -> None:
    """Check the rules of all channels against each other.

    Raises
    ------
    ValueError
        When there is not one a channel, a name is doubled, or a fallback is no earlier channel.
    """
    if rules and len(rules) != channels:
        raise ValueError(f"series holds {len(rules)} rule(s) for {channels} channel(s); give one a channel")
    earlier: list[str] = []
    for rule in rules:
        if rule.name in earlier:
            raise ValueError(f"two channels are named {rule.name}")
        if rule.fallback is not None and not earlier:
            raise ValueError(f"channel {rule.name}: the first one, on whose grid the others lie, has no fallback")
        if rule.fallback not in (None, ZEROS, *earlier):
            raise ValueError(
                f"channel {rule.name}: the fallback {rule.fallback} is neither {ZEROS} nor an earlier channel "
                f"({', '.join(earlier)})"
            )
        earlier.append(rule.name)


def channel_names(rules: Sequence[ChannelRule], n_channels: int) -> list[str]:
    """Names of the channels: those of the rules, or of the manifest's columns where there are none."""
    return [rule.name for rule in rules] or ["image", *(f"image_{n}" for n in range(2, n_channels + 1))]


def fallback_of(rules: Sequence[ChannelRule], number: int, missing_channel: MissingChannel) -> str | None:
    """What stands for channel `number` (from 0) where it is missing; None: the case fails.

    A rule's own fallback goes before what holds for all channels. The first, on whose grid the others lie, has none.
    """
    own = rules[number].fallback if rules else None
    return ZEROS if own is None and number > 0 and missing_channel == "zero" else own


def with_fallbacks(rules: Sequence[ChannelRule], missing_channel: MissingChannel) -> tuple[ChannelRule, ...]:
    """Return the rules with what holds for all channels written into each."""
    return tuple(
        rule.model_copy(update={"fallback": fallback_of(rules, number, missing_channel)})
        for number, rule in enumerate(rules)
    )
