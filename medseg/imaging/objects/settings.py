"""Settings of the DICOM objects that are written. Free of torch and of DICOM libraries."""

from typing import Literal

from pydantic import Field

from medseg.config_base import Settings

__all__ = ["CodedTerm", "ResultSettings"]


class CodedTerm(Settings):
    """A coded concept: SNOMED CT (SCT), RadLex (RADLEX), DICOM (DCM), UCUM."""

    value: str = Field(min_length=1, description="code value, such as 52988006")
    scheme: str = Field(min_length=1, description="coding scheme designator: SCT, RADLEX, DCM, UCUM")
    meaning: str = Field(min_length=1, max_length=64, description="code meaning, such as Lesion")


LESION = CodedTerm(value="52988006", scheme="SCT", meaning="Lesion")
ABNORMAL = CodedTerm(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure")


class ResultSettings(Settings):
    """What DICOM results say of the findings."""

    finding: CodedTerm = Field(LESION, description="what a finding is, where its class has no term of its own")
    category: CodedTerm = Field(ABNORMAL, description="category of what is segmented")
    site: CodedTerm | None = Field(None, description="anatomical region, such as SCT 39607008 Lung")
    class_terms: dict[str, CodedTerm] = Field({}, description="class of the pipeline -> what a finding of it is")
    segmentation: Literal["binary", "fractional", "labelmap"] = Field(
        "binary", description="kind of the DICOM SEG: binary is read everywhere; fractional holds probabilities"
    )

    def term(self, name: str) -> CodedTerm:
        """Term of a class."""
        return self.class_terms.get(name, self.finding)
