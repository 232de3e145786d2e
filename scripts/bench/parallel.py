"""Memory and speed of spread training steps against one process, in one run (MONAI's BasicUNet, float32, one thread).

    python scripts/bench/parallel.py [memory] [overhead] [out_of_core] [--size 128] [--repeats 3] [--json FILE]

memory       peak resident memory of a step above what was there before, for 1, 2 and 4 processes that share the volume
overhead     seconds of a step of two processes that share a volume, against the same two slabs without any message
             (two processes at the same time, repetitions interleaved, medians)
out_of_core  peak and seconds of one process that takes slabs in turn, the others in files, against the plain step
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from monai.networks.nets import BasicUNet

from medseg.parallel import out_of_core, spatial_parallel

PARTS = ("memory", "overhead", "out_of_core")
MEBIBYTE = 1 << 20


def status(name: str) -> float:
    """Return a line of /proc/self/status in MiB."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name))
    return int(line.split()[1]) / 1024


def steps(kind: str, size: int, parts: int) -> dict:
    """Return the steps that can be timed: plain on this process's volume, and spread."""
    torch.manual_seed(0)
    network = BasicUNet(3, 1, 1)
    alone = kind in ("plain", "slabs")
    x = torch.randn(1, 1, size if alone else size // parts, size, size)

    def plain() -> None:
        (network(x) ** 2).mean().backward()

    def shared() -> None:
        with spatial_parallel():
            loss = (network(x) ** 2).mean() / parts
        loss.backward()

    def slabs() -> None:
        with out_of_core(parts, keep="disk") as context:
            loss = (network(context.cut(x)) ** 2).mean()
        loss.backward()

    (network(torch.randn(1, 1, 32, 32, 32)) ** 2).mean().backward()  # the gradients are there before
    return {"plain": plain, "shared": shared, "slabs": slabs}


def work(kind: str, size: int, parts: int, repeats: int) -> None:
    """Measure in this process; the first one prints."""
    torch.set_num_threads(1)
    together = kind in ("shared", "overhead")
    if together:
        dist.init_process_group("gloo")
    available = steps(kind, size, parts)
    found: dict = {}
    if kind == "overhead":
        seconds: dict[str, list[float]] = {"plain": [], "shared": []}
        for _ in range(repeats):
            for name, times in seconds.items():
                dist.barrier()
                began = time.perf_counter()
                available[name]()
                dist.barrier()
                times.append(time.perf_counter() - began)
        found = {name: statistics.median(times) for name, times in seconds.items()}
    else:
        base = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        began = time.perf_counter()
        available[kind]()
        found = {"seconds": time.perf_counter() - began, "peak_mib": status("VmHWM") - base}
    if together:
        gathered: list = [None] * parts
        dist.all_gather_object(gathered, found)
        found = {name: max(one[name] for one in gathered) for name in found}
    if not together or dist.get_rank() == 0:
        print("FOUND " + json.dumps(found), flush=True)
    if together:
        dist.destroy_process_group()


def measured(kind: str, size: int, parts: int, repeats: int) -> dict:
    """Measure in processes of their own."""
    program = [__file__, "--work", kind, "--size", str(size), "--parts", str(parts), "--repeats", str(repeats)]
    launcher = [sys.executable]
    if kind in ("shared", "overhead"):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(parts)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *program], env=environment, capture_output=True, text=True, check=False)
    line = next((one for one in done.stdout.splitlines() if one.startswith("FOUND ")), None)
    if line is None:
        sys.exit(f"{kind} failed:\n{done.stderr[-2000:]}")
    result: dict = json.loads(line.removeprefix("FOUND "))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--size", type=int, default=128, help="voxels a side")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--parts", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.size, arguments.parts, arguments.repeats)
        return
    chosen, size, results = arguments.part or PARTS, arguments.size, {}
    print(f"BasicUNet, {size}^3 voxels, torch {torch.__version__}")
    if "memory" in chosen or "out_of_core" in chosen:
        results["plain"] = plain = measured("plain", size, 1, 1)
        print(f"one process: peak {plain['peak_mib']:.0f} MiB, {plain['seconds']:.1f} s")
    if "memory" in chosen:
        for parts in (2, 4):
            results[f"shared by {parts}"] = one = measured("shared", size, parts, 1)
            ratio = one["peak_mib"] / (plain["peak_mib"] / parts)
            print(f"shared by {parts} processes: peak {one['peak_mib']:.0f} MiB each, {ratio:.2f} / {parts} of one")
    if "out_of_core" in chosen:
        for parts in (8, 16):
            results[f"{parts} slabs"] = one = measured("slabs", size, parts, 1)
            print(
                f"{parts} slabs in turn: peak {one['peak_mib']:.0f} MiB, 1 / {plain['peak_mib'] / one['peak_mib']:.1f} "
                f"of one process; {one['seconds'] / plain['seconds']:.2f} times its seconds"
            )
    if "overhead" in chosen:
        results["overhead"] = one = measured("overhead", size, 2, arguments.repeats)
        print(f"two processes: {one['shared']:.2f} s, without messages {one['plain']:.2f} s, "
              f"ratio {one['shared'] / one['plain']:.3f}")  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
