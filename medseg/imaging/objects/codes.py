"""Coded concepts and the identification of the algorithm, as DICOM objects hold them."""

from typing import TYPE_CHECKING

from medseg.imaging.objects.provenance import Provenance
from medseg.imaging.objects.settings import CodedTerm

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.sr import CodedConcept

__all__ = ["algorithm", "to_coded_concept"]

NEURAL_NETWORK = CodedTerm(value="123110", scheme="DCM", meaning="Artificial Intelligence")  # PS3.16 CID 7162


def to_coded_concept(term: CodedTerm) -> "CodedConcept":
    """Return a term of the settings as a coded concept (PS3.3 8.8)."""
    from highdicom.sr import CodedConcept

    return CodedConcept(value=term.value, scheme_designator=term.scheme, meaning=term.meaning)


def algorithm(provenance: Provenance) -> "AlgorithmIdentificationSequence":
    """Algorithm Identification Macro (PS3.3 10.16): pipeline, version, digest of the weights."""
    from highdicom import AlgorithmIdentificationSequence

    return AlgorithmIdentificationSequence(
        name=provenance.pipeline[:64],  # VR LO
        family=to_coded_concept(NEURAL_NETWORK),
        version=provenance.version[:64],
        source="medseg",
        parameters={"model_sha256": provenance.model_digest} if provenance.model_digest else None,
    )
