"""Write the manifest of NIH chest radiographs with opacity boxes (NIH ChestX-ray and RSNA 2018 annotations).

    python scripts/cxr_manifest.py CXR_NIH -o DATASET

The folder holds ``images512/*.jpg`` and ``annotations_1024px_coords.csv``, whose boxes are in pixels of the 1024 px
original: they are halved. What an image says is taken from the RSNA reading where there is one, else from the NIH
boxes:

- RSNA class 'Lung Opacity': the boxes are lesions. 'Normal' and 'No Lung Opacity / Not Normal': read, no lesion.
- NIH boxes without an RSNA class: lesions.
- an NIH box on a film that RSNA read as 'Normal': the readers disagree, the case is ignored.
- neither: unlabelled. 'No Finding' is mined from reports and never taken as negative.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from medseg.data.manifest import Case, write_manifest
from medseg.files import read_csv, write_csv

BOX_COLUMNS = ("case_id", "x_min", "y_min", "x_max", "y_max", "class")
SCALE = 512 / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    _, rows = read_csv(arguments.source / "annotations_1024px_coords.csv")
    boxes_file = arguments.output.resolve() / "boxes.csv"
    cases, boxes, counts = [], [], Counter()
    for row in rows:
        name = Path(row["image"]).stem
        image = arguments.source.resolve() / "images512" / f"{name}.jpg"
        if not image.is_file():
            counts["image file missing"] += 1
            continue
        rsna = [tuple(box) for box in json.loads(row["rsna_boxes"] or "[]")]
        nih = [tuple(box[1:]) for box in json.loads(row["nih_boxes"] or "[]")]
        lesions = rsna if row["rsna_class"] else nih
        read = bool(row["rsna_class"] or nih)
        disagree = bool(nih) and row["rsna_class"] == "Normal"
        for x, y, w, h in lesions:
            corners = (x, y, x + w, y + h)
            boxes.append(dict(zip(BOX_COLUMNS, (name, *(value * SCALE for value in corners), "opacity"))))
        counts["unlabelled" if not read else "ignored" if disagree else "opacity" if lesions else "no opacity"] += 1
        cases.append(
            Case(
                case_id=name, patient_id=row["patient"], images=(str(image),), boxes=boxes_file if read else None,
                label=int(bool(lesions)) if read else None, name="opacity", modality="DX", view=row["view"],
                age=row["age"], sex=row["sex"], ignore=disagree,
            )
        )  # fmt: skip
    write_csv(boxes_file, BOX_COLUMNS, boxes)
    write_manifest(arguments.output / "dataset.csv", cases)
    print(
        f"{arguments.output / 'dataset.csv'}: {len(cases)} cases; " + ", ".join(f"{n} {k}" for k, n in counts.items())
    )


if __name__ == "__main__":
    main()
