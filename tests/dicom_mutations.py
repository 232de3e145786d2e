"""DICOM files damaged in the ways that transfers, disks and careless software damage them."""

import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian

Random = np.random.Generator

ODD_TEXTS = (
    "", " ", "NaN", "inf", "-1", "0", "1e400", "99999999", "-0.0", "text", "1\\2", "1\\2\\3\\4\\5\\6\\7", "\\\\",
    "0\\0\\0", "0.0000001", "1e-300\\1e300", "1,5", "'; --", "\u00e9", "1" * 70000, "NaN\\NaN\\NaN", "1\\0\\0\\1\\0\\0",
    "70000",
)  # fmt: skip
ODD_BYTES = (b"", b"\0", b"\xff", b"\xff" * 4, b"\0" * 9, b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\x01\x00" * 40)
VRS = ("US", "SS", "DS", "IS", "UI", "OB", "FD", "LO", "SQ", "UN", "AT")
# what geometry and pixels hang on is struck more often than the rest
VITAL = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns",
    "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "SeriesInstanceUID", "SOPInstanceUID",
    "SOPClassUID", "Modality", "ImageType", "AcquisitionNumber", "ImagerPixelSpacing", "PlanePositionSequence",
    "PlaneOrientationSequence", "PixelMeasuresSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip


def mutate(content: bytes, random: Random) -> tuple[bytes, str]:
    """Return a damaged copy of a file and what was done to it."""
    kinds: tuple[Callable[[bytes, Random], tuple[bytes, str]], ...] = (
        _bytes_of_the_header, _bytes_of_the_pixels, _cut_off, _odd_value, _odd_value, _odd_value, _odd_value, _removed,
        _wrong_type, _swapped_values, _swapped_places, _pixel_length, _slightly_moved,
    )  # fmt: skip
    for _ in range(20):  # some damage is not possible in some files, such as a value that cannot be written at all
        kind = kinds[random.integers(len(kinds))]
        try:
            damaged, what = kind(content, random)
        except Exception:  # the writer refuses some values with many types; another damage is drawn
            continue
        if damaged != content:
            return damaged, what
    return _cut_off(content, random)


def _pixels_at(content: bytes) -> int:
    for mark in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"):
        if mark in content:
            return content.rindex(mark)
    return len(content)


def _struck(content: bytes, random: Random, low: int, high: int) -> tuple[bytes, list[int]]:
    damaged = bytearray(content)
    places = random.integers(low, high, int(random.integers(1, 9))).tolist()
    for place in places:
        damaged[place] = int(random.integers(256))
    return bytes(damaged), places


def _bytes_of_the_header(content: bytes, random: Random) -> tuple[bytes, str]:
    damaged, places = _struck(content, random, 128, _pixels_at(content))
    return damaged, f"header bytes {places}"


def _bytes_of_the_pixels(content: bytes, random: Random) -> tuple[bytes, str]:
    damaged, places = _struck(content, random, _pixels_at(content), len(content))
    return damaged, f"pixel bytes {places}"


def _cut_off(content: bytes, random: Random) -> tuple[bytes, str]:
    length = int(random.integers(len(content)))
    return content[:length], f"cut off after {length} bytes"


def _pixel_length(content: bytes, random: Random) -> tuple[bytes, str]:
    at = _pixels_at(content) + (4 if random.random() < 0.2 else 8)
    length = int(random.choice([0, 1, 7, 100, 2**31, 2**32 - 2, 2**32 - 1, int(random.integers(2**32))]))
    return content[:at] + struct.pack("<I", length) + content[at + 4 :], f"length of the pixel data {length}"


def _element(data: Dataset, random: Random) -> tuple[Dataset, pydicom.DataElement]:
    """One element, perhaps inside a sequence."""
    vital = [element for element in data if element.keyword in VITAL]
    some = vital if vital and random.random() < 0.7 else [element for element in data if element.keyword != "PixelData"]
    element = some[random.integers(len(some))]
    if element.VR == "SQ" and len(element.value) and random.random() < 0.8:
        return _element(element.value[random.integers(len(element.value))], random)
    return data, element


def _parsed(content: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(content))


def _written(data: Dataset) -> bytes:
    stream = BytesIO()
    pydicom.dcmwrite(stream, data, overwrite=True)
    return stream.getvalue()


def _odd_value(content: bytes, random: Random) -> tuple[bytes, str]:
    data = _parsed(content)
    owner, element = _element(data, random)
    if element.VR in ("US", "SS", "UL", "SL"):
        value: object = int(random.choice([0, 1, 2, 3, 7, 8, 16, 17, 32, 255, 32767, 65535]))
        owner[element.tag] = pydicom.DataElement(element.tag, element.VR, value)
    elif element.VR in ("FD", "FL"):
        value = float(random.choice([np.nan, np.inf, -1.0, 0.0, 1e300]))
        owner[element.tag].value = value
    else:  # the bytes of a text, whatever the type of the element
        texts = ODD_TEXTS
        value = texts[random.integers(len(texts))].encode("utf-8")
        value = value if random.random() < 0.8 else ODD_BYTES[random.integers(len(ODD_BYTES))]
        _put_raw(owner, element, element.VR, value)  # type: ignore[arg-type]
    return _written(data), f"{element.keyword} = {value!r:.60}"


def _put_raw(owner: Dataset, element: pydicom.DataElement, vr: str, value: bytes) -> None:
    """Set bytes as they are: the writer would refuse many as a value of their type."""
    value += b" " * (len(value) % 2)
    owner[element.tag] = pydicom.dataelem.RawDataElement(element.tag, vr, len(value), value, 0, False, True)


def _wrong_type(content: bytes, random: Random) -> tuple[bytes, str]:
    data = _parsed(content)
    owner, element = _element(data, random)
    vr = VRS[random.integers(len(VRS))]
    value = ODD_BYTES[random.integers(len(ODD_BYTES))] if random.random() < 0.5 else str(element.value).encode()
    _put_raw(owner, element, vr, value[:60000])
    return _written(data), f"{element.keyword} as {vr}"


def _removed(content: bytes, random: Random) -> tuple[bytes, str]:
    data = _parsed(content)
    owner, element = _element(data, random)
    del owner[element.tag]
    return _written(data), f"{element.keyword} removed"


def _swapped_values(content: bytes, random: Random) -> tuple[bytes, str]:
    data = _parsed(content)
    (one_owner, one), (other_owner, other) = _element(data, random), _element(data, random)
    first, second = one.value, other.value
    one_owner[one.tag].value, other_owner[other.tag].value = second, first
    return _written(data), f"values of {one.keyword} and {other.keyword} swapped"


def _swapped_places(content: bytes, random: Random) -> tuple[bytes, str]:
    """Elements out of the order of their tags, which PS3.5 7.1 forbids."""
    data = _parsed(content)
    if data.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian:
        raise ValueError("explicit little endian only")
    blocks = []
    for element in data:
        single, stream = Dataset(), DicomBytesIO()
        single.add(element)
        single._pixel_rep = int(data.get("PixelRepresentation", 0))
        stream.is_little_endian, stream.is_implicit_VR = True, False
        write_dataset(stream, single)
        blocks.append(stream.getvalue())
    head = content[: len(content) - sum(map(len, blocks))]
    i, j = random.integers(len(blocks), size=2)
    blocks[i], blocks[j] = blocks[j], blocks[i]
    return head + b"".join(blocks), f"elements {i} and {j} in each other's place"


def _slightly_moved(content: bytes, random: Random) -> tuple[bytes, str]:
    """A plausible, wrong number: only the other slices can show that."""
    data = _parsed(content)
    frame = data
    if "PerFrameFunctionalGroupsSequence" in data:
        frames = data.PerFrameFunctionalGroupsSequence
        frame = frames[random.integers(len(frames))].PlanePositionSequence[0]
    position = [float(value) for value in frame.ImagePositionPatient]
    position[random.integers(3)] += float(random.choice([-3.0, -1.0, 0.5, 1.0, 6.0, 50.0]))
    frame.ImagePositionPatient = [f"{value:.6g}" for value in position]
    return _written(data), f"ImagePositionPatient = {position}"
