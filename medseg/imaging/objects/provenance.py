"""Which algorithm made a DICOM result."""

from dataclasses import dataclass

__all__ = ["NOTICE", "Provenance"]

NOTICE = "Research use only, not a medical device"


@dataclass(frozen=True, slots=True)
class Provenance:
    """The algorithm that made a result, as its DICOM objects name it.

    Parameters
    ----------
    pipeline : str
        Name of the pipeline.
    version : str
        Version of medseg.
    model_digest : str
        SHA-256 of the weights.
    """

    pipeline: str
    version: str
    model_digest: str = ""
