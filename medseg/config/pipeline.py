"""What a pipeline file may say."""

from pydantic import Field, model_validator

from medseg.config_base import Settings
from medseg.data.settings import AugmentationSettings, InputSettings, SamplingSettings
from medseg.data.split_settings import SplitSettings
from medseg.detectors.second_stage_settings import SecondStageSettings
from medseg.detectors.settings import ClassificationSettings, DetectorSettings, SegmentationSettings
from medseg.drawing.settings import DrawingSettings
from medseg.evaluation.settings import EvaluationSettings
from medseg.imaging.objects.settings import ResultSettings
from medseg.inference.settings import InferenceSettings
from medseg.networks.settings import DenseNetSettings, NetworkSettings, SmallCnnSettings, UNetSettings
from medseg.parallel.settings import LayoutSettings
from medseg.training.settings import TrainingSettings

__all__ = ["Pipeline"]


class Pipeline(Settings):
    """A detection task from image to finding, as one YAML file."""

    schema_version: int = Field(1, ge=1, le=1, description="version of this format")
    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$", description="name of the pipeline")
    description: str = Field("", description="what it detects, in which images")
    classes: tuple[str, ...] = Field(("lesion",), min_length=1, description="names of what is told apart")
    input: InputSettings = Field(default_factory=InputSettings, description="what the network is given")
    split: SplitSettings = Field(default_factory=SplitSettings, description="training, validation and test patients")
    sampling: SamplingSettings = Field(default_factory=SamplingSettings, description="what becomes a sample")
    augmentation: AugmentationSettings = Field(
        default_factory=AugmentationSettings, description="random changes of samples"
    )
    network: NetworkSettings = Field(default_factory=UNetSettings, description="the network")
    detector: DetectorSettings = Field(
        default_factory=SegmentationSettings, description="target, loss and decoding of the task"
    )
    training: TrainingSettings = Field(description="the training loop")
    second_stage: SecondStageSettings = Field(
        default_factory=SecondStageSettings, description="what judges the candidates, trained by `--second-stage`"
    )
    layout: LayoutSettings = Field(
        default_factory=LayoutSettings, description="processes that share a volume, for those larger than one device"
    )
    inference: InferenceSettings = Field(default_factory=InferenceSettings, description="prediction")
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings, description="figures of merit")
    drawing: DrawingSettings = Field(default_factory=DrawingSettings, description="overlays")
    results: ResultSettings = Field(default_factory=ResultSettings, description="coded terms of DICOM results")

    @model_validator(mode="after")
    def _fits(self) -> "Pipeline":
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes={list(self.classes)}: a name stands twice")
        classifies = isinstance(self.detector, ClassificationSettings)
        if classifies != isinstance(self.network, DenseNetSettings | SmallCnnSettings):
            raise ValueError(
                f"network.name={self.network.name} does not fit detector.kind={self.detector.kind}: classification "
                "goes with densenet or small_cnn, segmentation and heatmap go with unet"
            )
        if isinstance(self.detector, ClassificationSettings):
            self._fits_classification(self.detector)
        if classifies and self.sampling.hard_negative_fraction:
            raise ValueError("sampling.hard_negative_fraction needs a detector of places: segmentation or heatmap")
        batch = self.training.batch_size
        if batch != "auto" and batch % self.layout.data:
            raise ValueError(f"training.batch_size={batch} is no multiple of layout.data={self.layout.data}")
        if self.drawing.channel > self.input.channels:
            raise ValueError(f"drawing.channel={self.drawing.channel}: there are {self.input.channels} channel(s)")
        patch = self.sampling.patch_size
        if patch is not None and self.input.dimensions not in ("auto", len(patch)):
            raise ValueError(
                f"sampling.patch_size has {len(patch)} numbers, input.dimensions is {self.input.dimensions}"
            )
        return self

    def _fits_classification(self, detector: ClassificationSettings) -> None:
        if not detector.multi_label and len(self.classes) < 2:
            raise ValueError("classification needs at least two classes, or detector.multi_label=true")
        if isinstance(detector.class_weights, tuple) and len(detector.class_weights) != len(self.classes):
            raise ValueError(
                f"detector.class_weights has {len(detector.class_weights)} numbers for {len(self.classes)} classes"
            )
        if detector.activation_map == "cam" and not isinstance(self.network, DenseNetSettings):
            raise ValueError(
                "detector.activation_map=cam needs a last layer that is linear in the mean features, as densenet has: "
                f"with network.name={self.network.name} use grad_cam"
            )
        if detector.activation_map == "grad_cam" and max(self.layout.space, self.layout.slabs) > 1:
            raise ValueError("detector.activation_map=grad_cam cannot be spread by layout: use cam, or none")
