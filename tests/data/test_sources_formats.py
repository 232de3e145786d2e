"""VOC, YOLO, COCO, LUNA16: what a file says is what becomes a row, and what cannot be meant is refused."""

import csv
import json

import numpy as np
import pytest
import SimpleITK
from dicom_series import write_series
from PIL import Image

from medseg.data.annotations import read_lesions
from medseg.data.manifest import load_manifest
from medseg.data.prepare import prepare
from medseg.data.sources.coco import read_coco
from medseg.data.sources.slices import join_slices
from medseg.data.sources.voc import VocObject, read_voc
from medseg.data.sources.yolo import class_names, read_yolo
from medseg.errors import AnnotationError
from medseg.imaging import find_inputs, read


def picture(path, size=(20, 10), seed=0):
    """A picture of `size` (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 255, size[::-1], dtype=np.uint8)
    Image.fromarray(values).save(path)


def boxes_of(folder):
    with (folder / "boxes.csv").open() as stream:
        return [
            (r["case_id"], *(float(r[k]) for k in ("x_min", "y_min", "x_max", "y_max"))) for r in csv.DictReader(stream)
        ]


def labels_of(result):
    return {case.case_id: case.label for case in load_manifest(result.path).cases}


def box(z, x0=0, x1=4, **more):
    return {"x_min": x0, "y_min": 0, "x_max": x1, "y_max": 4, "z_min": z, "z_max": z + 1, **more}


def test_voc_counts_from_one_and_its_last_pixel_belongs_to_the_box():
    first = VocObject("A", (1, 1, 1, 1)).row()
    assert [first[key] for key in ("x_min", "y_min", "x_max", "y_max")] == [0, 0, 1, 1]  # the first pixel alone
    zero = VocObject("A", (0, 0, 0, 0)).row(one_based=False)
    assert zero == first


VOC = "<annotation><filename>{name}</filename><size><width>20</width><height>10</height></size>{objects}</annotation>"
OBJECT = (
    "<object><name>A</name><Difficult>{d}</Difficult><bndbox><xmin>{x}</xmin><ymin>2</ymin><xmax>20</xmax><ymax>10</ymax>"
    "</bndbox></object>"
)


def test_voc_files_are_matched_by_their_name_or_the_name_they_state(tmp_path):
    for seed, name in enumerate("abcd"):
        picture(tmp_path / "s" / f"{name}.png", seed=seed)
    (tmp_path / "s" / "a.xml").write_text(VOC.format(name="x.png", objects=OBJECT.format(d=0, x=11)))
    (tmp_path / "s" / "1.xml").write_text(VOC.format(name="b.png", objects=OBJECT.format(d=1, x=11)))
    (tmp_path / "s" / "c.xml").write_text(VOC.format(name="c.png", objects=""))
    (tmp_path / "s" / "other.xml").write_text("<settings/>")
    result = prepare(tmp_path / "s", tmp_path / "o")
    assert boxes_of(tmp_path / "o") == [("b", 10, 1, 20, 10), ("a", 10, 1, 20, 10)]
    cases = {case.case_id: case for case in load_manifest(result.path).cases}
    (difficult,) = read_lesions(cases["b"], read(cases["b"].images[0]).grid)
    assert difficult.ignore
    assert {name: case.is_labelled for name, case in cases.items()} == {"a": True, "b": True, "c": True, "d": False}


def test_a_voc_coordinate_of_zero_shows_that_the_set_counts_from_zero(tmp_path):
    for name, x in (("a", 0), ("b", 10)):
        picture(tmp_path / "s" / f"{name}.png", seed=x)
        text = (
            VOC.format(name="", objects=OBJECT.format(d=0, x=x))
            .replace("<xmax>20", "<xmax>19")
            .replace(">10</ymax", ">9</ymax")
        )
        (tmp_path / "s" / f"{name}.xml").write_text(text)
    prepare(tmp_path / "s", tmp_path / "o")
    assert sorted(boxes_of(tmp_path / "o")) == [("a", 0, 2, 20, 10), ("b", 10, 2, 20, 10)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<annotation><object>", "not readable as XML"),
        (
            VOC.format(name="", objects="<object><name>A</name></object>"),
            "object 1: xmin.* of its bndbox are not all numbers",
        ),
        (VOC.format(name="", objects=OBJECT.format(d=0, x=21)), "not those of a box"),
        (VOC.format(name="", objects=OBJECT.format(d=0, x="nan")), "not those of a box"),
        (VOC.format(name="", objects="").replace(">20<", ">40<"), r"\(40, 10\) pixels .*case a has \(20, 10\)"),
    ],
)
def test_wrong_voc_files_are_refused(tmp_path, text, says):
    picture(tmp_path / "s" / "a.png")
    (tmp_path / "s" / "a.xml").write_text(text)
    with pytest.raises(AnnotationError, match=says):
        prepare(tmp_path / "s", tmp_path / "o")


def test_two_voc_files_of_one_image_are_refused(tmp_path):
    picture(tmp_path / "s" / "a.png")
    for name in ("a", "z"):
        (tmp_path / "s" / f"{name}.xml").write_text(VOC.format(name="a.png", objects=OBJECT.format(d=0, x=11)))
    with pytest.raises(AnnotationError, match=r"z\.xml: is of the same image as .*a\.xml"):
        prepare(tmp_path / "s", tmp_path / "o")


def test_two_voc_files_of_one_slice_are_refused(tmp_path):
    uid = write_series(tmp_path / "s" / "scan", patient_id="1")
    (item,) = find_inputs(tmp_path / "s", name_series=str)
    assert item.series == uid
    instance = item.description.frames[0].sop_uid
    for folder in ("r1", "r2"):
        (tmp_path / "s" / folder).mkdir()
        text = "<annotation><size><width>16</width><height>16</height></size></annotation>"
        (tmp_path / "s" / folder / f"{instance}.xml").write_text(text)
    with pytest.raises(AnnotationError, match="is of the same image as"):
        prepare(tmp_path / "s", tmp_path / "o")


def test_a_voc_file_that_is_named_as_one_image_and_states_another_is_refused(tmp_path):
    for seed, name in enumerate("ab"):
        picture(tmp_path / "s" / f"{name}.png", seed=seed)
    (tmp_path / "s" / "a.xml").write_text(VOC.format(name="b.png", objects=OBJECT.format(d=0, x=11)))
    with pytest.raises(AnnotationError, match=r"a\.xml: is named as case a, its <filename> is that of case b"):
        prepare(tmp_path / "s", tmp_path / "o")


def test_other_xml_is_no_voc_and_voc_of_other_images_is_refused(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "x.xml").write_text("<settings/>")
    assert read_voc(tmp_path / "s" / "x.xml") is None
    (tmp_path / "s" / "x.xml").write_text(VOC.format(name="x.png", objects=""))
    picture(tmp_path / "s" / "a.png")
    with pytest.raises(AnnotationError, match="belongs to no image"):
        prepare(tmp_path / "s", tmp_path / "o")


def test_boxes_of_adjacent_slices_are_joined_where_they_overlap():
    two = join_slices([box(3), box(1), box(2, x1=6), box(5)])  # a slice without a box ends a lesion
    assert two == [box(1, x1=6) | {"z_max": 4}, box(5)]
    apart = join_slices([box(1), box(2, x0=4, x1=8)])  # they touch, but share no pixel
    assert len(apart) == 2
    classes = join_slices([box(1, **{"class": "A"}), box(2, **{"class": "B"})])
    assert len(classes) == 2
    largest = join_slices([box(1), box(2, x0=3, x1=8), box(2, x0=1, x1=5)])
    assert largest == [box(1, x1=5) | {"z_max": 3}, box(2, x0=3, x1=8)]


def test_yolo_boxes_are_fractions_of_width_and_height(tmp_path):
    label = tmp_path / "a.txt"
    label.write_text("0 0.5 0.5 0.2 0.4\n\n1 0.10 0.1 0.21 0.2\n2 0.1 0.2 0.3 0.2 0.3 0.6\n")
    rows = read_yolo(label, (20, 10), {0: "mass"})
    found = [tuple(round(row[key], 6) for key in ("x_min", "y_min", "x_max", "y_max")) for row in rows]
    # the second was rounded over the edge by 0.005, the third is a triangle
    assert found == [(8, 3, 12, 7), (0, 0, 4.1, 2), (2, 2, 6, 6)]
    assert [row["class"] for row in rows] == ["mass", "1", "2"]


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 0.2",
        "0 0.5 0.5 0.2 0.2 0.9",
        "mass 0.5 0.5 0.2 0.2",
        "0 0.5 0.5 0 0.2",
        "0 0.9 0.5 0.3 0.2",
        "0 nan 0.5 0.3 0.2",
    ],
)
def test_wrong_yolo_lines_are_refused(tmp_path, line):
    label = tmp_path / "a.txt"
    label.write_text(f"0 0.5 0.5 0.2 0.4\n{line}\n")
    with pytest.raises(AnnotationError, match="a.txt, line 2"):
        read_yolo(label, (20, 10), {})


def test_yolo_an_empty_text_is_read_and_a_missing_one_unlabelled(tmp_path):
    for seed, name in enumerate("abc"):
        picture(tmp_path / "s" / "images" / "train" / f"{name}.png", seed=seed)
    (tmp_path / "s" / "labels" / "train").mkdir(parents=True)
    (tmp_path / "s" / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.2 0.4")
    (tmp_path / "s" / "labels" / "train" / "b.txt").write_text("")
    (tmp_path / "s" / "data.yaml").write_text("names:\n  0: cyst\n  1: mass\n")
    result = prepare(tmp_path / "s", tmp_path / "o")
    assert labels_of(result) == {"a": 1, "b": 0, "c": None}
    assert "mass" in (tmp_path / "o" / "boxes.csv").read_text()


def test_text_beside_images_that_is_no_yolo_is_left_alone(tmp_path):
    picture(tmp_path / "s" / "a.png")
    (tmp_path / "s" / "a.txt").write_text("scanned on a Tuesday\n")
    assert labels_of(prepare(tmp_path / "s", tmp_path / "o")) == {"a": None}


@pytest.mark.parametrize("line", ["0 .5 .5 .1 .1 .9", "0 .5 .5 .1", "mass .5 .5 .1 .1", "0,.5,.5,.1,.1"])
def test_a_numeric_text_of_the_wrong_kind_is_refused_and_not_taken_for_unlabelled(tmp_path, line):
    picture(tmp_path / "s" / "a.png")
    picture(tmp_path / "s" / "b.png", seed=1)
    (tmp_path / "s" / "a.txt").write_text(f"{line}\n")
    with pytest.raises(AnnotationError, match=r"a\.txt, line 1: its \d values? are not a box; .*no confidence"):
        prepare(tmp_path / "s", tmp_path / "o")


def test_names_of_classes_must_agree(tmp_path):
    (tmp_path / "classes.txt").write_text("mass\ncyst\n")
    (tmp_path / "data.yaml").write_text("names: [cyst, mass]\n")
    assert class_names([tmp_path / "classes.txt"]) == {0: "mass", 1: "cyst"}
    with pytest.raises(AnnotationError, match="another file names them"):
        class_names([tmp_path / "classes.txt", tmp_path / "data.yaml"])


def coco(path, *, annotations, names=("a", "b"), size=(20, 10), **more):
    images = [
        {"id": n, "file_name": f"{name}.png", "width": size[0], "height": size[1]} for n, name in enumerate(names)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "mass"}], **more}
    path.write_text(json.dumps(content))


def test_coco_images_without_annotation_were_read_and_crowds_are_ignored(tmp_path):
    for seed, name in enumerate("abc"):
        picture(tmp_path / "s" / f"{name}.png", seed=seed)
    one = {"id": 1, "image_id": 0, "category_id": 5, "bbox": [2, 1, 4.5, 3]}
    coco(tmp_path / "s" / "boxes.json", annotations=[one, {**one, "bbox": [10, 1, 5, 5], "iscrowd": 1}])
    (tmp_path / "s" / "settings.json").write_text("{}")
    result = prepare(tmp_path / "s", tmp_path / "o")
    assert boxes_of(tmp_path / "o") == [("a", 2, 1, 6.5, 4), ("a", 10, 1, 15, 6)]
    assert labels_of(result) == {"a": 1, "b": 0, "c": None}
    case = load_manifest(result.path).cases[0]
    assert [lesion.ignore for lesion in read_lesions(case, read(case.images[0]).grid)] == [False, True]


def test_coco_files_of_one_image_are_readers(tmp_path):
    for seed, name in enumerate("ab"):
        picture(tmp_path / "s" / f"{name}.png", seed=seed)
    one = {"id": 1, "image_id": 0, "category_id": 5, "bbox": [2, 2, 4, 4]}
    for reader, boxes in (("r1", [one]), ("r2", [{**one, "bbox": [4, 2, 4, 4]}]), ("r3", [])):
        coco(tmp_path / "s" / f"{reader}.json", annotations=boxes)
    result = prepare(tmp_path / "s", tmp_path / "o")
    case = load_manifest(result.path).cases[0]
    (lesion,) = read_lesions(case, read(case.images[0]).grid)
    assert (lesion.box[0], lesion.box[3], lesion.reader, lesion.ignore) == (3, 7, "r1;r2", False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"annotations": [{"id": 1, "image_id": 9, "category_id": 5, "bbox": [1, 1, 2, 2]}]},
            "annotation 1: its image",
        ),
        ({"annotations": [{"id": 1, "image_id": 0, "category_id": 6, "bbox": [1, 1, 2, 2]}]}, "category is not listed"),
        ({"annotations": [{"id": 1, "image_id": 0, "category_id": 5, "bbox": [1, 1, 0, 2]}]}, "sides above 0"),
        ({"annotations": [{"id": 1, "image_id": 0, "category_id": 5}]}, r"its bbox is not \[x, y"),
        (
            {"annotations": [{"id": 3, "image_id": 0, "category_id": 5, "bbox": [float("nan"), 1, 2, 2]}]},
            "annotation 3: .*finite",
        ),
        (
            {"annotations": [{"id": 3, "image_id": 0, "category_id": 5, "bbox": [1, 1, 2, float("inf")]}]},
            "annotation 3: .*finite",
        ),
        (
            {"annotations": [{"id": 3, "image_id": 0, "category_id": 5, "bbox": [4, 1, -2, 2]}]},
            "annotation 3: .*above 0",
        ),
        (
            {"annotations": [], "images": [{"id": 0, "file_name": "a.png"}, {"id": 0, "file_name": "b.png"}]},
            "of one id",
        ),
        ({"annotations": [], "images": [{"id": n, "file_name": "a.png"} for n in (0, 7)]}, "lists case a twice"),
        ({"annotations": [], "images": [{"id": n, "file_name": f"{n}/a.png"} for n in (0, 7)]}, "lists case a twice"),
        ({"annotations": [{"id": 1}]}, "not as COCO has it"),
        ({"annotations": [], "size": (40, 10)}, r"states \(40, 10\) pixels"),
        ({"annotations": [], "names": ("x", "y")}, "not one of its 2 images is here"),
    ],
)
def test_wrong_coco_files_are_refused(tmp_path, change, says):
    picture(tmp_path / "s" / "a.png")
    coco(tmp_path / "s" / "c.json", **change)
    with pytest.raises(AnnotationError, match=says):
        prepare(tmp_path / "s", tmp_path / "o")
    (tmp_path / "no.json").write_text("[1, 2]")
    assert read_coco(tmp_path / "no.json") is None


def test_a_box_outside_of_its_image_fails_its_case_alone(tmp_path):
    for seed, name in enumerate("ab"):
        picture(tmp_path / "s" / f"{name}.png", seed=seed)
    coco(tmp_path / "s" / "c.json", annotations=[{"id": 1, "image_id": 0, "category_id": 5, "bbox": [15, 1, 9, 2]}])
    result = prepare(tmp_path / "s", tmp_path / "o")
    assert "case a: box" in result.failures["a"]
    assert labels_of(result) == {"b": 0}


def test_a_flat_box_does_not_lie_in_a_volume(tmp_path):
    uid = write_series(tmp_path / "s", patient_id="1")
    coco(tmp_path / "s" / "c.json", annotations=[])
    content = json.loads((tmp_path / "s" / "c.json").read_text())
    content["images"][0]["file_name"] = uid
    (tmp_path / "s" / "c.json").write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match="a volume of 5 slices, a rectangle does not say on which"):
        prepare(tmp_path / "s", tmp_path / "o")


def test_tables_name_an_image_by_file_stem_or_series(tmp_path):
    picture(tmp_path / "s" / "a.png")
    uid = write_series(tmp_path / "s" / "scan", patient_id="1")
    (tmp_path / "s" / "boxes.csv").write_text(
        f"case_id,x_min,y_min,x_max,y_max,z_min,z_max,reader\na.png,1,1,4,4,,,r1\n{uid},1,1,4,4,2,3,r2\nzz,1,1,4,4,,,\n"
    )
    result = prepare(tmp_path / "s", tmp_path / "o")
    (series,) = [item for item in find_inputs(tmp_path / "s" / "scan", name_series=str) if item.series == uid]
    named = {case.case_id: case for case in load_manifest(result.path).cases}
    assert series.name == next(case for name, case in named.items() if name != "a").images[0]
    assert [name for name, *_ in boxes_of(tmp_path / "o")] == ["a", next(name for name in named if name != "a")]
    assert set(labels_of(result).values()) == {1}


def test_luna_names_images_by_their_uid(tmp_path):
    uids = ["1.3.6.1.4.14519.77", "1.3.6.1.4.14519.771"]
    for number, uid in enumerate(uids):
        image = SimpleITK.GetImageFromArray(np.random.default_rng(number).random((4, 8, 8)).astype(np.float32))
        image.SetOrigin((-10.0, 5.0, 2.0))
        (tmp_path / "s").mkdir(exist_ok=True)
        SimpleITK.WriteImage(image, tmp_path / "s" / f"{uid}.mhd")
    (tmp_path / "s" / "annotations.csv").write_text(
        f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{uids[0]},-8,6,4,3\n{uids[0]},-5,8,3,2.5\n"
    )
    result = prepare(tmp_path / "s", tmp_path / "o")
    assert labels_of(result) == {uids[0]: 1, uids[1]: 0}
    case = load_manifest(result.path).cases[0]
    first, _ = read_lesions(case, read(case.images[0]).grid)
    assert (first.x, first.y, first.z, first.diameter) == (-8, 6, 4, 3)


def test_a_source_that_is_a_link_is_matched_alike(tmp_path):
    from medseg.data.pseudonyms import Pseudonyms
    from medseg.data.sources import find_cases

    (tmp_path / "s").mkdir()
    Image.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / "s" / "a.png")
    (tmp_path / "s" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "link").symlink_to(tmp_path / "s")
    cases, _ = find_cases(tmp_path / "link", tmp_path / "o", Pseudonyms(tmp_path))
    assert [case.boxes is not None for case in cases] == [True]


def test_real_yolo_slices(tmp_path, real_data):
    from medseg.data.pseudonyms import Pseudonyms
    from medseg.data.sources import find_cases

    cases, _ = find_cases(real_data / "brain_tumor_t1gd", tmp_path, Pseudonyms(tmp_path))
    assert len(cases) == 383
    assert all(case.boxes is not None for case in cases)
    found = dict(zip((name for name, *_ in boxes_of(tmp_path)), boxes_of(tmp_path)))
    width, height = Image.open(real_data / "brain_tumor_t1gd" / "2_2136.jpg").size
    expected = [(0.44 - 0.09) * width, (0.39 - 0.075) * height, (0.44 + 0.09) * width, (0.39 + 0.075) * height]
    assert found["2_2136"][1:] == pytest.approx(tuple(expected))  # the line is '2 0.44 0.39 0.18 0.15'
