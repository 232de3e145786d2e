"""Several readers and classes: what they agree on is the reference, what fewer than half marked is ignored."""

import numpy as np
import pytest
from PIL import Image

from medseg.data.annotations import (
    agreed_lesions,
    check_annotations,
    lesions_of_mask,
    mask_grid,
    read_labels,
    read_lesions,
    read_mask,
    read_readings,
    unplaced_lesions,
)
from medseg.data.annotations.masks import Layer, label_layers
from medseg.data.manifest import Case
from medseg.errors import AnnotationError, GeometryError
from medseg.imaging import write_mask
from medseg.lesion import Lesion
from medseg.volume import Grid

GRID = Grid.projection((10, 20))
VOLUME = Grid((4, 10, 20), np.diag([0.5, 0.5, 3.0, 1.0]))


def case(**files):
    return Case(case_id="a", patient_id="a", images=("a.png",), **files)


def boxes(folder, *rows):
    table = folder / "boxes.csv"
    table.write_text("\n".join(["case_id,x_min,y_min,x_max,y_max,class,reader,ignore", *rows]) + "\n")
    return table


def test_boxes_of_three_readers(tmp_path):
    table = boxes(
        tmp_path, "a,2,2,6,6,mass,r1,", "a,4,2,8,6,mass,r2,", "a,3,2,7,6,cyst,r3,", "a,12,2,16,6,mass,r3,"
    )  # fmt: skip
    lesions = read_lesions(case(boxes=table), GRID)
    assert [(lesion.box, lesion.name, lesion.reader, lesion.ignore) for lesion in lesions] == [
        ((3, 2, 0, 7, 6, 1), "mass", "r1;r2;r3", False),
        ((12, 2, 0, 16, 6, 1), "mass", "r3", True),
    ]
    assert (lesions[0].x, lesions[0].y) == (4.5, 3.5)
    readings = read_readings(case(boxes=table), GRID)
    assert {name: len(found) for name, found in readings.items()} == {"r1": 1, "r2": 1, "r3": 2}


def test_a_reader_who_found_nothing_counts_where_the_manifest_names_him(tmp_path):
    table = boxes(tmp_path, "a,2,2,6,6,mass,r1,")
    (alone,) = read_lesions(case(boxes=table), GRID)
    assert not alone.ignore
    (one_of_two,) = read_lesions(case(boxes=table, reader="r1;r2"), GRID)
    assert not one_of_two.ignore  # half of the readers are enough
    (one_of_three,) = read_lesions(case(boxes=table, reader="r1;r2;r3"), GRID)
    assert one_of_three.ignore


def test_one_reader_keeps_every_box_as_it_is(tmp_path):
    table = boxes(tmp_path, "a,2,2,6,6,mass,r1,", "a,3,2,7,6,mass,r1,", "a,3,2,7,6,mass,r1,1")
    lesions = read_lesions(case(boxes=table), GRID)
    assert [lesion.box[0] for lesion in lesions] == [2, 3, 3]
    assert [lesion.ignore for lesion in lesions] == [False, False, True]


def mark(x, reader, diameter=4.0, **more):
    return Lesion(x, 0.0, 0.0, diameter, "mm", reader=reader, **more)


def test_points_are_joined_nearest_first_and_a_reader_marks_a_lesion_once():
    # 0 and 1.5 of r1 both lie within 2 mm of r2's 1: the nearer one is the same lesion
    found = agreed_lesions([mark(0.0, "r1"), mark(1.5, "r1"), mark(1.0, "r2", 6.0)], VOLUME, n_readers=2)
    assert [(lesion.x, lesion.diameter, lesion.reader) for lesion in found] == [(0.0, 4.0, "r1"), (1.25, 5.0, "r1;r2")]


def test_points_further_apart_than_their_radius_are_two_lesions():
    assert len(agreed_lesions([mark(0.0, "r1"), mark(1.9, "r2")], VOLUME, n_readers=2)) == 1
    assert len(agreed_lesions([mark(0.0, "r1"), mark(2.1, "r2")], VOLUME, n_readers=2)) == 2


def test_order_of_the_marks_does_not_matter():
    random = np.random.default_rng(0)
    marks = [mark(float(x), f"r{i % 3}") for i, x in enumerate(random.uniform(0, 20, 12))]
    expected = sorted((lesion.x, lesion.reader, lesion.ignore) for lesion in agreed_lesions(marks, VOLUME, n_readers=3))
    for _ in range(5):
        shuffled = [marks[i] for i in random.permutation(len(marks))]
        found = sorted(
            (lesion.x, lesion.reader, lesion.ignore) for lesion in agreed_lesions(shuffled, VOLUME, n_readers=3)
        )
        assert [item[1:] for item in found] == [item[1:] for item in expected]
        assert [item[0] for item in found] == pytest.approx([item[0] for item in expected])


def test_an_ignored_mark_is_no_vote():
    found = agreed_lesions([mark(0.0, "r1", ignore=True), mark(0.5, "r2"), mark(9.0, "r2")], VOLUME, n_readers=3)
    assert [lesion.ignore for lesion in found] == [True, True]
    found = agreed_lesions([mark(0.0, "r1", ignore=True), mark(0.5, "r2"), mark(0.4, "r3")], VOLUME, n_readers=3)
    assert [lesion.ignore for lesion in found] == [False]


def layer(name, reader, *spans, ignore=False):
    voxels = np.zeros((1, 1, 20), np.uint8)
    for low, high in spans:
        voxels[0, 0, low:high] = 1
    return Layer(name, reader, ignore, voxels)


LINE = Grid.projection((1, 20))


def line_of(labelled):
    return labelled.labels[0, 0].tolist()


def test_masks_hold_where_half_of_the_readers_marked():
    layers = [layer("", "r1", (2, 6)), layer("", "r2", (4, 8), (12, 14)), layer("", "r3", (4, 5))]
    three = label_layers(layers, LINE, 3)
    assert np.flatnonzero(three.mask).tolist() == [4, 5]
    assert [(lesion.box[0], lesion.box[3], lesion.ignore) for lesion in three.lesions] == [
        (12, 14, True),
        (4, 6, False),
    ]
    assert [lesion.mask_label for lesion in three.lesions] == [1, 2]
    assert line_of(three) == [0] * 4 + [2, 2] + [0] * 6 + [1, 1] + [0] * 6
    two = label_layers(layers[:2], LINE, 2)
    assert np.flatnonzero(two.mask).tolist() == [2, 3, 4, 5, 6, 7, 12, 13]  # one of two is half
    assert not any(lesion.ignore for lesion in two.lesions)
    four = label_layers(layers[:2], LINE, 4)  # two readers who marked nothing
    assert np.flatnonzero(four.mask).tolist() == [4, 5]


def test_touching_classes_are_two_lesions_and_the_smaller_stays_on_top():
    labelled = label_layers(
        [layer("organ", "", (0, 12)), layer("mass", "", (3, 6)), layer("node", "", (12, 14))], LINE, 1
    )
    found = {(lesion.name, lesion.box[0], lesion.box[3]) for lesion in labelled.lesions}
    assert found == {("organ", 0, 3), ("organ", 6, 12), ("mass", 3, 6), ("node", 12, 14)}
    for lesion in labelled.lesions:
        inside = labelled.labels[0, 0, int(lesion.box[0]) : int(lesion.box[3])]
        assert set(inside.tolist()) == {lesion.mask_label}


def test_an_ignored_mask_has_lesions_but_is_not_in_the_mask():
    labelled = label_layers([layer("", "", (2, 4)), layer("", "", (3, 8), ignore=True)], LINE, 1)
    assert np.flatnonzero(labelled.mask).tolist() == [2, 3]
    assert [(lesion.box[0], lesion.ignore) for lesion in labelled.lesions] == [(4, True), (2, False)]


def test_one_mask_of_one_reader_is_its_components(tmp_path):
    mask = (np.random.default_rng(1).random(VOLUME.shape) > 0.9).astype(np.uint8)
    write_mask(tmp_path / "m.nii.gz", mask, VOLUME)
    known = case(mask=tmp_path / "m.nii.gz", name="mass", reader="r1")
    assert read_lesions(known, VOLUME) == lesions_of_mask(mask, VOLUME, name="mass", reader="r1")
    assert np.array_equal(read_mask(known, VOLUME), mask)
    labelled = read_labels(known, VOLUME)
    assert np.array_equal(labelled.labels > 0, mask > 0)
    for lesion in labelled.lesions[:5]:
        z, y, x = np.argwhere(labelled.labels == lesion.mask_label).mean(axis=0)
        assert [lesion.x, lesion.y, lesion.z] == pytest.approx([x * 0.5, y * 0.5, z * 3.0])


def test_a_table_of_masks(tmp_path):
    for name, low in (("one", 2), ("two", 3)):
        mask = np.zeros(VOLUME.shape, np.uint8)
        mask[1, 1, low : low + 4] = 1
        write_mask(tmp_path / f"{name}.nii.gz", mask, VOLUME)
    table = tmp_path / "masks.csv"
    table.write_text("case_id,mask,reader,class\na,one.nii.gz,r1,mass\na,two.nii.gz,r2,mass\nb,gone.nii.gz,r1,\n")
    known = case(mask=table)
    (lesion,) = read_lesions(known, VOLUME)
    assert (lesion.box, lesion.name, lesion.reader) == ((2, 1, 1, 7, 2, 2), "mass", "r1;r2")
    assert {name: found[0].box[0] for name, found in read_readings(known, VOLUME).items()} == {"r1": 2, "r2": 3}
    assert mask_grid(known).same_as(VOLUME)
    empty = Case(case_id="c", patient_id="c", images=("c.png",), mask=table)
    assert read_lesions(empty, VOLUME) == []  # read, no lesion
    missing = Case(case_id="b", patient_id="b", images=("b.png",), mask=table)
    with pytest.raises(AnnotationError, match="case b: masks.csv names a mask that is not here"):
        read_lesions(missing, VOLUME)
    with pytest.raises(AnnotationError, match="none of its rows belongs to a case"):
        check_annotations([empty])


@pytest.mark.parametrize(("value", "says"), [(-1, "whole numbers from 0"), (0.5, "whole numbers from 0")])
def test_masks_of_other_values_are_refused(tmp_path, value, says):
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.full((2, 3, 4), value, np.float32)), tmp_path / "m.nii.gz")
    with pytest.raises(AnnotationError, match=f"case a: a mask holds {says}"):
        read_lesions(case(mask=tmp_path / "m.nii.gz"), Grid((2, 3, 4), np.eye(4)))


def test_a_mask_off_its_image_is_refused_with_both_geometries(tmp_path):
    write_mask(tmp_path / "m.nii.gz", np.ones(VOLUME.shape, np.uint8), VOLUME)
    moved = np.array(VOLUME.affine)
    moved[0, 3] = 0.1  # a fifth of a voxel
    with pytest.raises(GeometryError, match=r"case a: the mask does not lie on its image: .* the image has shape"):
        read_lesions(case(mask=tmp_path / "m.nii.gz"), Grid(VOLUME.shape, moved))
    with pytest.raises(AnnotationError, match="case a: 'x' is no value of a mask"):
        read_lesions(case(mask=tmp_path / "m.nii.gz#x"), VOLUME)


def test_a_table_of_another_format_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation/>")
    with pytest.raises(AnnotationError, match="prepare FOLDER` makes it from annotations in other formats"):
        read_lesions(case(boxes=tmp_path / "a.xml"), GRID)


def test_lesions_without_a_place_are_those_of_one_reader(tmp_path):
    table = boxes(tmp_path, "a,2,2,6,6,mass,r1,", "a,2,2,6,6,mass,r2,", "a,12,2,16,6,cyst,r2,")
    assert [lesion.name for lesion in unplaced_lesions(case(boxes=table))] == ["mass", "cyst"]


def test_a_cached_case_keeps_the_classes_of_touching_masks(tmp_path):
    from medseg.data.cache import CacheOptions, cache_key, load_case
    from medseg.data.settings import InputSettings

    image, first, second = np.zeros((3, 12, 12), np.uint8)
    image[:] = np.arange(12)
    first[2:6, 2:6], second[2:6, 6:9] = 255, 255
    for name, values in (("image", image), ("first", first), ("second", second)):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    table = tmp_path / "masks.csv"
    table.write_text("case_id,mask,class\na,first.png,core\na,second.png,edge\n")
    known = Case(case_id="a", patient_id="a", images=(str(tmp_path / "image.png"),), mask=table)
    options = CacheOptions(InputSettings(dimensions=2, size=None), None, ("core", "edge"))
    cached = load_case(known, options)
    assert [cached.class_of[cached.instances[0, 3, x]] for x in (3, 7)] == [0, 1]
    assert cached.instances[0, 3, 3] != cached.instances[0, 3, 7]
    before = cache_key(known, options)
    Image.fromarray(first).save(tmp_path / "second.png")
    assert cache_key(known, options) != before  # it depends on the masks that the table names
