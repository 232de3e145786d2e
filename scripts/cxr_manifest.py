"""Write the manifest of NIH chest radiographs with opacity boxes (NIH ChestX-ray and RSNA 2018 annotations).

    python scripts/cxr_manifest.py CXR_NIH -o DATASET

The folder holds ``images512/*.jpg`` and ``annotations_1024px_coords.csv``, whose boxes are in pixels of the 1024 px
original: they are halved. What an image says is taken from the RSNA reading where there is one, else from the NIH
boxes:

- RSNA class 'Lung Opacity': the boxes are lesions. 'Normal' and 'No Lung Opacity / Not Normal': read, no lesion.
- NIH boxes without an RSNA class: lesions.
- an NIH box on a film that RSNA read as 'Normal': the readers disagree, the case is ignored.
- neither, and 'No Finding' mined from the report, of a patient none of whose films was read: no lesion, but for
  training only (`split` = train), because nobody verified it. `--only-read` leaves these unlabelled.
- anything else: unlabelled.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from medseg.data.manifest import Case, write_manifest
from medseg.files import read_csv, write_csv

BOX_COLUMNS = ("case_id", "x_min", "y_min", "x_max", "y_max", "class")
SCALE = 512 / 1024


def is_read(row: dict[str, str]) -> bool:
    return bool(row["rsna_class"]) or bool(json.loads(row["nih_boxes"] or "[]"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only-read", action="store_true", help="take no image without a reading as negative")
    arguments = parser.parse_args()
    _, rows = read_csv(arguments.source / "annotations_1024px_coords.csv")
    boxes_file = arguments.output.resolve() / "boxes.csv"
    cases, boxes, counts = [], [], Counter()
    patients_read = {row["patient"] for row in rows if is_read(row)}
    for row in rows:
        name = Path(row["image"]).stem
        image = arguments.source.resolve() / "images512" / f"{name}.jpg"
        if not image.is_file():
            counts["image file missing"] += 1
            continue
        rsna = [tuple(box) for box in json.loads(row["rsna_boxes"] or "[]")]
        nih = [tuple(box[1:]) for box in json.loads(row["nih_boxes"] or "[]")]
        lesions = rsna if row["rsna_class"] else nih
        read = is_read(row)
        mined = row["labels"] == "No Finding" and row["patient"] not in patients_read and not arguments.only_read
        disagree = bool(nih) and row["rsna_class"] == "Normal"
        for x, y, w, h in lesions:
            corners = (x, y, x + w, y + h)
            boxes.append(dict(zip(BOX_COLUMNS, (name, *(value * SCALE for value in corners), "opacity"))))
        if read:
            counts["ignored" if disagree else "opacity" if lesions else "no opacity"] += 1
        else:
            counts["no finding by the report, training only" if mined else "unlabelled"] += 1
        cases.append(
            Case(
                case_id=name, patient_id=row["patient"], images=(str(image),),
                boxes=boxes_file if read or mined else None, label=int(bool(lesions)) if read or mined else None,
                split="train" if mined else "", name="opacity", modality="DX", view=row["view"],
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
