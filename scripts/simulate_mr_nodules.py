"""Insert simulated nodules into your MR volumes, for trying a pipeline out before you have annotated exams.

    python scripts/simulate_mr_nodules.py SOURCE -o FOLDER --n-exams 24 [--seed 0] [--organs MASKS]
        [--phases native,arterial,portal,late] [--diameters 8 24]

SOURCE is a manifest (or the folder of `medseg prepare`) of volumes without lesions; its columns image, image_2 ... are
the phases, in the order of --phases. Of cases with one image the phases are derived, and called synthetic. FOLDER gets
a data set that `medseg train -d` and `medseg prepare` read. Nothing measured on it says how lesions of patients
are found.
"""

import argparse
import logging
import sys
from pathlib import Path

from medseg.data.sample.mr_exams import make_mr
from medseg.data.sample.mr_nodules import PHASES
from medseg.errors import MedsegError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--n-exams", type=int, required=True, help="in all; they take turns over the cases of SOURCE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--organs", type=Path, help="folder of masks CASE.nii.gz (without it: the body by threshold)")
    parser.add_argument("--phases", default=",".join(PHASES), help="what the images of a case are, in their order")
    parser.add_argument("--diameters", type=float, nargs=2, default=(8.0, 24.0), metavar="MM")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        table = make_mr(
            arguments.source, arguments.output, n_exams=arguments.n_exams, seed=arguments.seed,
            phases=arguments.phases.split(","), organs=arguments.organs, diameters_mm=tuple(arguments.diameters),
        )  # fmt: skip
    except MedsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
