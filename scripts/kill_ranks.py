"""Kill ranks of a spread training at random, resume each time, and compare with an undisturbed training.

    python scripts/kill_ranks.py -o FOLDER [--kills 20] [--ranks 2] [--steps 60] [--seed 0]

Simulated radiographs. Printed: what was killed, what the job said, how long it took to end; at the end whether any
process is left and whether the weights are those of the undisturbed training.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from medseg.data.sample import make_radiographs

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)
LONGEST_SECONDS = 600.0  # a job that lasts longer hangs
OPTIONS = (
    "input.size=64", "sampling.patch_size=[64,64]", "network.filters=[4,8,16]", "training.max_minutes=null",
    "training.batch_size=2", "training.validate_every_minutes=null", "training.validate_every_epochs=2",
    "training.max_validation_cases=2", "training.precision=float32", "training.channels_last=off",
    "training.compile=off", "training.workers=1", "training.checkpoint_seconds=0", "training.tensorboard=false",
)  # fmt: skip


def start(data: Path, run: Path, options: list[str], *, resume: bool) -> subprocess.Popen:
    command = [sys.executable, "-m", "medseg", "train", "chest_xray_nodule", "-d", str(data), "-o", str(run)]
    command += [*OPTIONS, *options, *(["--resume"] if resume else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ranks_of(parent: int) -> list[int]:
    """Process numbers of the ranks that a training has started."""
    found = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            ancestor = int(Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
            command = Path(f"/proc/{entry}/cmdline").read_text()
        except (OSError, IndexError):
            continue  # it has just ended
        if ancestor == parent and "rank_process" in command:
            found.append(int(entry))
    return found


def killed(process: subprocess.Popen, after: float, chance: random.Random) -> str:
    """Send a random signal to a random rank some time after all have started; what was sent, or nothing."""
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < after:
        time.sleep(0.05)
    ranks = ranks_of(process.pid)
    if process.poll() is not None or not ranks:
        return ""
    number = chance.choice(SIGNALS)
    os.kill(chance.choice(ranks), number)
    return number.name


def _equal(*runs: Path) -> bool:
    a, b = (torch.load(run / "checkpoints" / "model.pt", weights_only=True)["weights"] for run in runs)
    return all(torch.equal(a[name], b[name]) for name in a)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = make_radiographs(arguments.output / "data", n_exams=20, size=64)
    options = [f"layout.space={arguments.ranks}", "layout.hang_seconds=10", f"training.max_steps={arguments.steps}"]
    whole, cut = arguments.output / "whole", arguments.output / "cut"
    for run in (whole, cut):
        shutil.rmtree(run, ignore_errors=True)
    began = time.monotonic()
    undisturbed = start(data, whole, options, resume=False)
    print(undisturbed.communicate(timeout=LONGEST_SECONDS)[0].strip().splitlines()[-1])
    usual = time.monotonic() - began
    chance, done, worst, ranks = random.Random(arguments.seed), 0, 0.0, []
    equal: list[bool] = []
    while True:
        process = start(data, cut, options, resume=(cut / "checkpoints" / "last.pt").exists())
        sent = killed(process, chance.uniform(2, usual), chance) if done < arguments.kills else ""
        ranks += ranks_of(process.pid)
        at = time.monotonic()
        output = process.communicate(timeout=LONGEST_SECONDS)[0].strip()
        if process.returncode == 0:
            equal.append(_equal(whole, cut))
            if done >= arguments.kills:
                break
            shutil.rmtree(cut)  # it was faster than the kill: once more
            continue
        done, worst = done + 1, max(worst, time.monotonic() - at)
        print(f"{done:3d} {sent:8s} ended {time.monotonic() - at:5.1f} s later: {output.splitlines()[-1]}", flush=True)
        if not sent:
            sys.exit("the training failed without a kill")
    left = [rank for rank in ranks if Path(f"/proc/{rank}").exists()]
    print(f"{done} kills; longest time to the end {worst:.1f} s; processes left: {len(left)}")
    print(f"trainings that were finished: {len(equal)}; with the weights of the undisturbed one: {sum(equal)}")


if __name__ == "__main__":
    main()
