"""Coded concepts of measurement reports, as they are written and as they are looked for (PS3.16)."""

from medseg.imaging.objects.settings import CodedTerm

__all__ = [
    "AREA", "CENTER", "CERTAINTY", "COMMENT", "CUBIC_MM", "DEVICE", "DEVICE_NAME", "DIAMETER", "FINDING", "IMAGE_GROUP",
    "IMAGE_LIBRARY", "IMAGING_PROCEDURE", "LENGTHS", "LENGTH_UNITS_MM", "MEASUREMENT_GROUP", "MM", "NO_FINDINGS",
    "PERCENT", "PERSON_NAME", "PIXELS", "PROCESSING_SUMMARY", "SEGMENT_NAMES", "SOURCE", "SQUARE_MM", "TRACKING_ID",
    "TRACKING_UID", "VOLUME",
]  # fmt: skip


def _dcm(value: str, meaning: str) -> CodedTerm:
    return CodedTerm(value=value, scheme="DCM", meaning=meaning)


def _sct(value: str, meaning: str) -> CodedTerm:
    return CodedTerm(value=value, scheme="SCT", meaning=meaning)


def _unit(value: str, meaning: str) -> CodedTerm:
    return CodedTerm(value=value, scheme="UCUM", meaning=meaning)


MEASUREMENT_GROUP = _dcm("125007", "Measurement Group")
FINDING = _dcm("121071", "Finding")
TRACKING_ID = _dcm("112039", "Tracking Identifier")
TRACKING_UID = _dcm("112040", "Tracking Unique Identifier")
CENTER = _dcm("111010", "Center")
SEGMENT_NAMES = (_dcm("121191", "Referenced Segment"), _dcm("121214", "Referenced Segmentation Frame"))
IMAGE_LIBRARY, IMAGE_GROUP = _dcm("111028", "Image Library"), _dcm("126200", "Image Library Group")
SOURCE = _sct("260753009", "Source")
COMMENT = _dcm("121106", "Comment")
DEVICE = _dcm("121007", "Device")
PERSON_NAME, DEVICE_NAME = _dcm("121008", "Person Observer Name"), _dcm("121013", "Device Observer Name")
IMAGING_PROCEDURE = _sct("363679005", "Imaging procedure")  # CID 100

# What a device says of how sure it is of a finding, 0 to 100 % (PS3.16 TID 4104, 4127; annex D). It claims no
# probability of a disease, as (111047, DCM, Probability of cancer) would.
CERTAINTY = _dcm("111012", "Certainty of Finding")
# CID 6047: that nothing was found, rather than that nothing is there
PROCESSING_SUMMARY = _dcm("111017", "CAD Processing and Findings Summary")
NO_FINDINGS = _dcm("111241", "All algorithms succeeded; without findings")

DIAMETER, AREA, VOLUME = _sct("81827009", "Diameter"), _sct("42798000", "Area"), _sct("118565006", "Volume")
LENGTHS = (  # CID 7470, longest first where several are given
    _sct("103339001", "Long axis"), _sct("131187009", "Major axis"),
    _sct("131192006", "Diameter of circumscribed circle"),    _sct("410668003", "Length"), _dcm("121206", "Distance"),
)  # fmt: skip

MM, SQUARE_MM, CUBIC_MM = _unit("mm", "millimeter"), _unit("mm2", "square millimeter"), _unit("mm3", "cubic millimeter")
PIXELS, PERCENT = _unit("{pixels}", "pixels"), _unit("%", "percent")
LENGTH_UNITS_MM = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
