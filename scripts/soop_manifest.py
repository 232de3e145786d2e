"""Write the manifest of a folder of axial FLAIR slices with masks (OpenNeuro ds004889, axial slices as PNG).

    python scripts/soop_manifest.py SOOP_FLAIR_AXIAL -o DATASET

The folder holds ``flair/NAME.png``, ``mask/NAME.png`` and ``index.csv`` (``sub``, ``axial_px``, ``age``). One slice
a patient; the label says whether the slice shows an infarct. A slice without one is of a stroke patient too.
"""

import argparse
from pathlib import Path

from medseg.data.manifest import Case, write_manifest
from medseg.files import read_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    _, rows = read_csv(arguments.source / "index.csv")
    cases = []
    for row in rows:
        image, mask = (arguments.source / kind / f"{row['sub']}.png" for kind in ("flair", "mask"))
        if not image.is_file():
            continue
        cases.append(
            Case(
                case_id=row["sub"],
                patient_id=row["sub"],
                images=(str(image.resolve()),),
                mask=mask.resolve(),
                label=int(int(row["axial_px"]) > 0),
                name="infarct",
                modality="MR",
                age=row["age"],
            )
        )
    write_manifest(arguments.output / "dataset.csv", cases)
    print(f"{arguments.output / 'dataset.csv'}: {len(cases)} cases, {sum(c.label or 0 for c in cases)} with an infarct")


if __name__ == "__main__":
    main()
