"""Damaged NIfTI, NRRD, MetaImage and pictures: no crash, no hang, no invented affine, each refusal with a reason."""

import gzip
import re
import struct
import time
import tracemalloc

import numpy as np
import pytest
from nibabel.quaternions import quat2mat
from PIL import Image

from medseg.errors import ImageError
from medseg.imaging import read, write_volume
from medseg.volume import Grid, Volume

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's on what is damaged here
QUICK, ALL = 160, 2000
NAMES = ["a.nii", "b.nii.gz", "c.nrrd", "d.mha", "e.mhd", "f.png", "g.jpg", "h.tif"]
HEADER = {
    "a.nii": 352,
    "b.nii.gz": 352,
    "c.nrrd": 300,
    "d.mha": 330,
    "e.mhd": 330,
}  # bytes in which most damage is done
SECONDS = 10.0
MEMORY = 1 << 26  # bytes; the whole images hold some KB
WORDS = [b"0", b"-1", b"nan", b"inf", b"1e99", b"3", b"4", b"999999999", b"none", b"", b"..", b"LOCAL", b"short"]
NUMBERS = [struct.pack(kind, value) for kind, values in {
    "<h": (0, -1, 1, 5, 255, 32767, -32768), ">h": (3, 348), "<i": (348, 540, 2**31 - 1),
    "<f": (0, -1, np.nan, np.inf, 1e30),
}.items() for value in values]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The content of an undamaged file of each format; an MHD comes with its data file."""
    folder = tmp_path_factory.mktemp("whole")
    random = np.random.default_rng(0)
    affine = np.array([[0.9, -0.48, 0, -30], [0.36, 1.44, 0, 12], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])  # turned about z
    affine[:3, :2] = np.array([[0.8, -0.6], [0.6, 0.8], [0, 0]]) * [1.2, 1.6]
    values = random.integers(-100, 900, (1, 3, 8, 9)).astype(np.float32)
    for name in NAMES[:5]:
        write_volume(folder / name, Volume(values, Grid((3, 8, 9), affine)))
    picture = Image.fromarray(random.integers(0, 255, (24, 30), dtype=np.uint8))
    for name in NAMES[5:]:
        picture.save(folder / name)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def damage(content, name, random):
    """Change, cut or overwrite, the same for the same `random`."""
    if name.endswith(".gz") and random.random() < 0.7:  # inside the compression, which would notice any other change
        return gzip.compress(damage(gzip.decompress(content), "a.nii", random))
    data = bytearray(content)
    reach = min(HEADER.get(name, len(data)), len(data)) if random.random() < 0.8 else len(data)
    way = random.integers(5)
    if way == 0:
        return bytes(data[: random.integers(len(data))])
    if way == 1:
        for place in random.integers(reach, size=random.integers(1, 5)):
            data[place] = random.integers(256)
    elif way == 2 and name in ("c.nrrd", "d.mha", "e.mhd"):
        numbers = list(re.finditer(rb"[-\d.]+|[a-zA-Z]+", bytes(data[:reach])))
        found = numbers[random.integers(len(numbers))]
        data[found.start() : found.end()] = WORDS[random.integers(len(WORDS))]
    elif way == 3 and name in ("c.nrrd", "d.mha", "e.mhd"):
        lines = bytes(data[:reach]).split(b"\n")
        number = random.integers(len(lines))
        lines[number : number + 1] = [] if random.random() < 0.7 else [lines[number], lines[number]]
        data[:reach] = b"\n".join(lines)
    else:
        part = NUMBERS[random.integers(len(NUMBERS))]
        place = random.integers(max(reach - 4, 1)) // 2 * 2
        data[place : place + len(part)] = part
    return bytes(data)


def stated_by_nifti(content):
    """The affine to LPS mm of a NIfTI-1 header, by its offsets in the file."""
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    order = "<" if struct.unpack("<i", content[:4])[0] == 348 else ">"
    get = lambda kind, place: np.array(struct.unpack_from(order + kind, content, place), dtype=float)  # noqa: E731
    qform_code, sform_code = get("2h", 252)
    pixdim, affine = get("8f", 76), np.eye(4)
    if sform_code > 0:
        affine[:3] = get("12f", 280).reshape(3, 4)
    elif qform_code > 0:
        b, c, d = get("3f", 256)
        a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
        affine[:3, :3] = quat2mat([a, b, c, d]) * pixdim[1:4] * [1, 1, -1 if pixdim[0] < 0 else 1]
        affine[:3, 3] = get("3f", 268)
    else:
        return None
    scale = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}[content[123] & 7]
    return np.diag([-scale, -scale, scale, 1]) @ affine


def stated_by_nrrd(content):
    text = content.decode("latin-1")
    field = lambda name: re.search(rf"(?mi)^{name}: (.*)$", text)  # noqa: E731
    directions, origin, space = field("space directions"), field("space origin"), field("space")
    if directions is None or space is None:
        return None
    vectors = re.findall(r"\((.*?)\)", directions[1])
    affine = np.eye(4)
    affine[:3, :3] = np.array([[float(part) for part in vector.split(",")] for vector in vectors]).T
    if origin is not None:
        affine[:3, 3] = [float(part) for part in origin[1].strip("() \r").split(",")]
    assert space[1].lower().startswith("left-posterior"), space[1]
    return affine


def stated_by_metaimage(content):
    text = content.decode("latin-1")
    field = lambda name: re.search(rf"(?m)^\s*{name}\s*=(.*)$", text)  # noqa: E731
    matrix, offset, spacing = field("TransformMatrix"), field("Offset"), field("ElementSpacing")
    if spacing is None or (matrix is None and offset is None):
        return None
    affine = np.eye(4)
    if matrix is not None:
        affine[:3, :3] = np.array(matrix[1].split(), dtype=float).reshape(3, 3).T
    affine[:3, :3] *= np.array(spacing[1].split(), dtype=float)
    if offset is not None:
        affine[:3, 3] = np.array(offset[1].split(), dtype=float)
    return affine


STATED = {"nii": stated_by_nifti, "gz": stated_by_nifti, "nrrd": stated_by_nrrd, "mha": stated_by_metaimage}


def check(file, content):
    """Read a damaged file; return whether it was read, after comparing its place with what the bytes say."""
    began = time.perf_counter()
    tracemalloc.start()
    try:
        volume = read(file)
    except ImageError as error:
        text = str(error)
        assert text.startswith(str(file))
        assert len(text) > len(str(file)) + 15
        assert "\n" not in text
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert time.perf_counter() - began < SECONDS
        assert peak < MEMORY
    assert volume.array.dtype == np.float32
    suffix = file.suffix[1:].replace("mhd", "mha")
    if suffix in STATED:
        stated = STATED[suffix](content)
        assert stated is not None, "an affine was invented"
        assert np.allclose(volume.affine_lps, stated, rtol=1e-4, atol=1e-4)
    else:
        assert volume.is_projection
    return True


def go_through(numbers, whole, folder):
    read_whole = 0
    for number in numbers:
        random = np.random.default_rng(number)
        name = NAMES[number % len(NAMES)]
        place = folder / str(number)
        place.mkdir()
        if name == "e.mhd":
            (place / "e.zraw").write_bytes(whole["e.zraw"])
        content = damage(whole[name], name, random)
        (place / name).write_bytes(content)
        try:
            read_whole += check(place / name, content)
        except BaseException as error:
            raise AssertionError(f"damaged file {number}, {name}: {type(error).__name__}: {error}") from error
    return read_whole


def test_the_whole_files_are_read(whole, tmp_path):
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    assert all(check(tmp_path / name, whole[name]) for name in NAMES)


def test_some_damaged_files(whole, tmp_path):
    assert 0 < go_through(range(QUICK), whole, tmp_path) < QUICK  # neither refused all nor nothing


@pytest.mark.slow
def test_many_damaged_files(whole, tmp_path):
    assert 0 < go_through(range(QUICK, ALL), whole, tmp_path) < ALL
