"""Make the sample data of the demonstration, or its CT counterpart, in a folder of your own.

    python scripts/sample_data.py radiographs -o DATASET [-n 160] [--size 256] [--seed 0]
    python scripts/sample_data.py ct -o DATASET [-n 24] [--seed 0]

One real CT with inserted nodules of real shapes: good for trying things out, estimates nothing clinical.
"""

import argparse
import logging
from pathlib import Path

from medseg.data.sample import make_ct, make_radiographs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["radiographs", "ct"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-n", "--number", type=int, help="simulated exams")
    parser.add_argument("--size", type=int, default=256, help="pixels a side of a radiograph")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.kind == "ct":
        print(make_ct(arguments.output, n_exams=arguments.number or 24, seed=arguments.seed))
    else:
        number = arguments.number or 160
        print(make_radiographs(arguments.output, n_exams=number, size=arguments.size, seed=arguments.seed))


if __name__ == "__main__":
    main()
