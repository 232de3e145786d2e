"""Train on whole CT volumes that one process cannot hold, spread over two; compare with an unlimited process.

    python scripts/bench/whole_volume.py -o FOLDER [--limit-mb 1600] [--steps 3] [--json FILE]

Simulated exams (one real CT with inserted nodules). Each process gets a hard limit on its data (RLIMIT_DATA: what it
allocates; files that it maps do not count). Shown: that one process fails under the limit, that two processes (and one
that takes slabs in turn, the others in files) do not, and that their losses are those of one process without a limit.
"""

import argparse
import csv
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from medseg.data.sample import make_ct

OPTIONS = (
    "sampling.patch_size=[112,120,120]", "input.spacing_mm=[3,3,3]", "training.max_minutes=null",
    "training.batch_size=1", "training.validate_every_minutes=null", "training.validate_every_epochs=1000",
    "training.optimizer=sgd", "training.learning_rate=0.001", "training.precision=float32",
    "training.channels_last=off", "training.compile=off", "training.workers=1", "training.tensorboard=false",
    "training.max_validation_cases=1",
)  # fmt: skip
LAYOUTS = {
    "one process": (),
    "two processes": ("layout.space=2",),
    "eight slabs in turn, in files": ("layout.slabs=8", "layout.keep=disk"),
}


def train(data: Path, run: Path, layout: tuple[str, ...], steps: int, limit_mb: int | None) -> dict:
    """Train and say how it went."""

    def limit() -> None:
        if limit_mb is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit_mb << 20, limit_mb << 20))

    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "medseg", "train", "ct_lung_nodule", "-d", str(data), "-o", str(run)]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, *OPTIONS, f"training.max_steps={steps}", *layout], preexec_fn=limit, capture_output=True, text=True
    )
    losses = []
    if (run / "log.csv").is_file():
        with (run / "log.csv").open() as stream:
            losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
    return {
        "exit_code": done.returncode, "losses": losses, "seconds": round(time.perf_counter() - began, 1),
        "says": "" if done.returncode == 0 else "".join(last),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--limit-mb", type=int, default=1600, help="data of each process")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    data = make_ct(arguments.output / "ct", n_exams=5)
    results = {"one process, no limit": train(data, arguments.output / "run", (), arguments.steps, None)}
    for name, layout in LAYOUTS.items():
        label = f"{name}, {arguments.limit_mb} MiB each"
        results[label] = train(data, arguments.output / "run", layout, arguments.steps, arguments.limit_mb)
    reference = results["one process, no limit"]["losses"]
    for name, result in results.items():
        print(f"{name}: exit code {result['exit_code']}, {result['seconds']} s {result['says']}")
        if result["exit_code"] == 0:
            apart = max(abs(a - b) / abs(b) for a, b in zip(result["losses"], reference, strict=True))
            result["largest_relative_difference"] = apart
            print(f"  losses {', '.join(f'{loss:.6f}' for loss in result['losses'])}; furthest apart {apart:.1e}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
