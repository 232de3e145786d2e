"""Masks among the images: told by their names, of one reader or several, and refused where they do not fit."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medseg.data.annotations import read_lesions
from medseg.data.manifest import load_manifest
from medseg.data.prepare import prepare
from medseg.data.sources.masks import MaskFile, mask_files
from medseg.errors import AnnotationError
from medseg.imaging import read

SOURCE = Path("/data")


def told(*names):
    found = mask_files([SOURCE / name for name in names], SOURCE)
    return {str(mask.path.relative_to(SOURCE)): (mask.image, mask.reader) for mask in found}


@pytest.mark.parametrize(
    ("names", "masks"),
    [
        (("a.nii.gz", "a_mask.nii.gz"), {"a_mask.nii.gz": ("a", "")}),
        (("a.png", "a-seg.png", "a_label_r2.png"), {"a-seg.png": ("a", ""), "a_label_r2.png": ("a", "r2")}),
        (("b_mask.png", "a.png"), {}),  # there is no b: an image of this name
        (("1.2.840.10.7_seg.nrrd",), {"1.2.840.10.7_seg.nrrd": ("1.2.840.10.7", "")}),
        (("p1/mask.nii.gz", "p1/mask_r1.nii.gz"), {"p1/mask.nii.gz": ("", ""), "p1/mask_r1.nii.gz": ("", "r1")}),
        (("flair/a.png", "mask/a.png", "mask/b.png"), {"mask/a.png": ("a", ""), "mask/b.png": ("b", "")}),
        (("a.png", "Masks/r1/a.png"), {"Masks/r1/a.png": ("a", "r1")}),
        (("a.png", "seg/a.png", "seg/r2/a_mask.png"), {"seg/a.png": ("a", ""), "seg/r2/a_mask.png": ("a", "r2")}),
        (("label/a.png", "label/b.png"), {}),  # images in a folder of this name
        (("images/a.png", "labels/a.txt"), {}),
    ],
)  # fmt: skip
def test_masks_are_told_by_their_names(names, masks):
    assert told(*names) == masks


def test_folders_above_the_source_say_nothing():
    source = Path("/studies/mask")
    assert mask_files([source / "a.png"], source) == []
    assert mask_files([source / "a.png", source / "a_mask.png"], source) == [MaskFile(source / "a_mask.png", "a")]


def draw(path, *boxes, size=12):
    """A picture with boxes (x_min, y_min, x_max, y_max) of 255, or of noise without boxes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((size, size), np.uint8)
    if not boxes:
        values = np.random.default_rng(len(str(path))).integers(1, 255, (size, size), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        values[y0:y1, x0:x1] = 255
    Image.fromarray(values).save(path)


def test_masks_of_several_readers_are_one_case(tmp_path):
    source = tmp_path / "s"
    draw(source / "img" / "a.png")
    draw(source / "img" / "bb.png")
    draw(source / "mask" / "r1" / "a.png", (2, 2, 6, 6), (9, 9, 11, 11))
    draw(source / "mask" / "r2" / "a.png", (4, 2, 8, 6))
    draw(source / "mask" / "r3" / "a.png", (4, 4, 8, 6))
    result = prepare(source, tmp_path / "o", workers=1)
    cases = {case.case_id: case for case in load_manifest(result.path).cases}
    assert set(cases) == {"a", "bb"}
    lesions = read_lesions(cases["a"], read(cases["a"].images[0]).grid)
    # two of three: x 4 to 8 of rows 4 and 5 (r2, r3), x 4 to 6 of rows 2 and 3 (r1, r2)
    assert {lesion.box: lesion.ignore for lesion in lesions} == {
        (4, 2, 0, 8, 6, 1): False,
        (9, 9, 0, 11, 11, 1): True,
    }
    assert not cases["bb"].is_labelled
    with (tmp_path / "o" / "masks.csv").open() as stream:
        assert [row["reader"] for row in csv.DictReader(stream)] == ["r1", "r2", "r3"]


def test_a_mask_named_by_its_folder_alone_needs_one_image_there(tmp_path):
    source = tmp_path / "s"
    draw(source / "p1" / "x.png")
    draw(source / "p1" / "mask.png", (2, 2, 4, 4))
    draw(source / "p2" / "yy.png")
    draw(source / "p2" / "mask.png", (2, 2, 4, 4))
    result = prepare(source, tmp_path / "o", workers=1)
    assert [case.mask.parent.name for case in load_manifest(result.path).cases] == ["p1", "p2"]
    draw(source / "p2" / "zzz.png")
    with pytest.raises(AnnotationError, match="holds 2 images, so its name must say whose mask it is"):
        prepare(source, tmp_path / "o", workers=1)


def test_a_mask_of_another_size_fails_its_case_alone(tmp_path):
    source = tmp_path / "s"
    draw(source / "a.png")
    draw(source / "a_mask.png", (2, 2, 4, 4), size=10)
    draw(source / "b.png", (2, 2, 4, 4))
    result = prepare(source, tmp_path / "o", workers=1)
    assert "the mask does not lie on its image: shape (1, 10, 10)" in result.failures["a"]
    assert [case.case_id for case in load_manifest(result.path).cases] == ["b"]


def test_our_table_of_masks_gives_classes_to_values(tmp_path):
    source = tmp_path / "s"
    draw(source / "a.png")
    values = np.zeros((12, 12), np.uint8)
    values[2:4, 2:6], values[2:4, 6:9] = 1, 2  # they touch
    Image.fromarray(values).save(source / "labels-of-a.png")
    (source / "masks.csv").write_text("case_id,mask,class\na,labels-of-a.png#1,core\na,labels-of-a.png#2,edge\n")
    result = prepare(source, tmp_path / "o", workers=1)
    (case,) = load_manifest(result.path).cases
    found = {lesion.name: lesion.box for lesion in read_lesions(case, read(case.images[0]).grid)}
    assert found == {"core": (2, 2, 0, 6, 4, 1), "edge": (6, 2, 0, 9, 4, 1)}


def test_a_mask_that_is_a_link_is_a_mask(tmp_path):
    draw(tmp_path / "store" / "x.png", (2, 2, 4, 4))
    draw(tmp_path / "s" / "img" / "a.png")
    (tmp_path / "s" / "mask").mkdir()
    (tmp_path / "s" / "mask" / "a.png").symlink_to(tmp_path / "store" / "x.png")
    result = prepare(tmp_path / "s", tmp_path / "o", workers=1)
    (case,) = load_manifest(result.path).cases
    assert case.mask == tmp_path / "s" / "mask" / "a.png"
