"""Annotations that would be lost or could never be hit are refused."""

import numpy as np
import pytest

from medseg.data.annotations import check_annotations, read_lesions
from medseg.data.manifest import Case
from medseg.errors import AnnotationError
from medseg.volume import Grid


def case(name, **files):
    return Case(case_id=name, patient_id=name, images=(f"{name}.png",), **files)


def test_rows_that_belong_to_no_case_are_reported(tmp_path, caplog):
    table = tmp_path / "boxes.csv"
    table.write_text("case_id,x_min,y_min,x_max,y_max\nA,1,1,4,4\nb.png,1,1,4,4\n")
    with pytest.raises(AnnotationError, match="none of its rows belongs to a case; the first is of case 'A'"):
        check_annotations([case("a", boxes=table), case("b", boxes=table)])
    check_annotations([case("A", boxes=table), case("b", boxes=table)])
    assert "rows of 1 case(s) that are not here, the first 'b.png'" in caplog.text
    table.write_text("case_id,x_min,y_min,x_max,y_max\n")
    check_annotations([case("a", boxes=table)])  # read, no lesion anywhere


@pytest.mark.parametrize("diameter", ["", "0", "-5"])
def test_a_point_needs_a_diameter_unless_it_is_ignored(tmp_path, diameter):
    table = tmp_path / f"points{diameter}.csv"
    table.write_text(f"case_id,x,y,z,diameter_px,ignore\na,3,3,0,{diameter},0\nb,3,3,0,{diameter},1\n")
    grid = Grid.projection((8, 8))
    with pytest.raises(AnnotationError, match="case a: the point .* has no diameter above 0"):
        read_lesions(case("a", points=table), grid)
    (ignored,) = read_lesions(case("b", points=table), grid)
    assert ignored.ignore


def test_archives_whose_parts_do_not_fit_are_refused(tmp_path):
    from medseg.data.sources.stacks import from_npz
    from medseg.errors import ManifestError

    images, labels = np.zeros((3, 4, 4), np.uint8), np.arange(3)
    good = {"x_train": images, "y_train": labels, "x_test": images[:2], "y_test": labels[:2]}
    for change, says in (
        ({"y_train": labels[:2]}, "3 train images and 2 labels"),
        ({"y_test": labels[:2] - 1}, "a test label is not a whole number from 0"),
        ({"y_train": np.array(["a", "b", "c"])}, "a train label is not a whole number"),
        ({"x_test": images[:2, :3]}, "images of different sizes"),
        ({"x_train": images[0]}, "expected"),
    ):
        np.savez(tmp_path / "a.npz", **{**good, **change})
        with pytest.raises(ManifestError, match=says):
            from_npz(tmp_path / "a.npz", tmp_path)
    np.savez(tmp_path / "a.npz", **good)
    assert [c.split for c in from_npz(tmp_path / "a.npz", tmp_path)] == ["val", "train", "train", "test", "test"]
