"""Settings of the training loop. Free of torch."""

from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from medseg.config_base import Settings

__all__ = ["TrainingSettings"]


class TrainingSettings(Settings):
    """How long, with what optimiser, and how it is watched."""

    seed: int = Field(0, ge=0, lt=2**63, description="seed of weights, samples and augmentation")
    deterministic: bool = Field(
        False, description="bit-wise repeatable: float32, deterministic algorithms, no measured choices"
    )
    max_epochs: int | None = Field(None, ge=1, description="end after this many passes over the training cases")
    max_steps: int | None = Field(None, ge=1, description="end after this many steps")
    max_minutes: float | None = Field(
        None, gt=0, description="end after this much training time; the learning rate then falls by the clock"
    )
    batch_size: PositiveInt | Literal["auto"] = Field(
        8, description="samples a step; auto: what the memory holds, at most 5 % of the training voxels"
    )
    memory_mb: float | None = Field(
        None,
        gt=0,
        description="memory of the device, 10^6 bytes: a planned batch or patch stays well within, a step estimated to "
        "need more is refused; null: no limit (batch_size auto: the GPU's memory, or half of the host's)",
    )
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="sgd: Nesterov momentum 0.99")
    learning_rate: float = Field(1e-3, gt=0, description="highest learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="decay of convolution and dense weights")
    schedule: Literal["polynomial", "cosine", "constant"] = Field(
        "polynomial", description="polynomial: (1 - progress)^0.9; cosine: half a period"
    )
    warmup_steps: int = Field(20, ge=0, description="steps over which the learning rate rises linearly from 0")
    gradient_clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: no clipping")
    ema_decay: float | None = Field(
        0.99, gt=0, lt=1, description="decay a step of the averaged weights used for validation; null: none"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: the fastest of a short measurement; losses are always float32"
    )
    channels_last: Literal["auto", "on", "off"] = Field("auto", description="memory format, auto: measured")
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="torch.compile (needs a C++ compiler on CPU); auto: where it is measured to be faster, tried for "
        "trainings of 30 minutes or more (10 on a GPU)",
    )
    validate_every_epochs: float = Field(1.0, gt=0, description="epochs between validations")
    validate_every_minutes: float | None = Field(
        None, gt=0, description="training minutes between validations, instead of epochs"
    )
    max_validation_cases: int | None = Field(None, ge=1, description="validate on the first so many; null: all")
    checkpoint_seconds: float = Field(60.0, ge=0, description="time between checkpoints")
    workers: int | None = Field(
        None, ge=0, description="processes that prepare samples; 0: in the training process; null: half of the cores"
    )
    max_bad_steps: int = Field(50, ge=1, description="stop after this many steps in a row whose loss is not finite")
    patience_validations: int | None = Field(
        None, ge=1, description="end after so many validations in a row without a better figure; null: never"
    )
    initial_weights: str | None = Field(
        None, description="begin with these weights: a run, one fold, a bundle, or a .safetensors or .pt file"
    )
    allow_partial_weights: bool = Field(
        False,
        description="of initial_weights load what fits by name and shape, and leave the rest fresh; else all must",
    )
    initial_plan: bool = Field(
        False, description="take spacing and patch, where not given, from the run that initial_weights names"
    )
    choose_postprocessing: bool = Field(
        True, description="after a cross-validation of masks: choose which of their components are kept"
    )
    tensorboard: bool = Field(True, description="also write the log for TensorBoard")

    @field_validator("batch_size", mode="wrap")
    @classmethod
    def _number_or_auto(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError("a whole number from 1 on, or auto") from None

    @model_validator(mode="after")
    def _ends(self) -> "TrainingSettings":
        if self.max_epochs is None and self.max_steps is None and self.max_minutes is None:
            raise ValueError("one of max_epochs, max_steps and max_minutes must be given")
        return self
