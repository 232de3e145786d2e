"""Spread training steps against one device, in one run (MONAI's BasicUNet, float32, one thread a process).

    python scripts/bench/parallel.py [PART ...] [--size 128] [--repeats 3] [--limit 600] [--json FILE]

exactness    differences of outputs and gradients between 2, 3 and 4 processes and one, for each network of the tests,
             over the largest of one process; in float64 and float32, uneven parts. For float32 also how far one process
             is from itself in float64 and in channels-last memory: a ReLU near zero passes the gradient or does not
memory       peak resident memory of a step above what was there before, for 1, 2 and 4 processes that share the volume
overhead     seconds of a step of two processes that share a volume, against the same two slabs without any message
             (two processes at the same time, repetitions interleaved, medians)
out_of_core  peak and seconds of one process that takes slabs in turn, the others in files, against the plain step
limit        the largest volume that is trained in `--limit` MiB, plain and in slabs, and seconds a voxel. The limit is
             the kernel's (RLIMIT_DATA): memory that the process takes for itself, besides what it had after a small
             step; neither files nor what the system keeps of them count. A step that wants more fails.
cuda         the same on a GPU whose memory is capped: one process fails where two on one device (halos through pinned
             host memory) and slabs in turn do not; gradients under autocast against float32. (Not run by us so far.)

Without a part: all but `cuda`. `--size` is that of memory, overhead and out_of_core.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from monai.networks.nets import BasicUNet

from medseg.parallel import out_of_core, spatial_parallel

PARTS = ("exactness", "memory", "overhead", "out_of_core", "limit")
TOGETHER = ("shared", "overhead")  # what several processes do
MEBIBYTE = 1 << 20
SLAB_ROWS = 4  # of the largest volume in slabs; fewer rows, less memory and more halo
STEP = 16  # voxels: the network halves the sides four times
SIDES = range(2 * STEP, 513, STEP)
FACTORS = (8, 27, 64)  # of the largest plain volume, to try in slabs
NETWORKS = {  # of tests/parallel_networks.py, and the dimensions that are shown
    "UNet": (2, 3), "BasicUNet": (2, 3), "DynUNet deep": (2, 3), "SegResNet": (2, 3), "AttentionUnet": (2, 3),
    "VNet": (2, 3), "HighResNet": (2, 3), "DenseNet121": (2, 3), "DenseNet169": (2, 3), "DenseNet201": (2, 3),
    "AutoencoderKL": (2, 3), "SwinUNETR": (2, 3),
}  # fmt: skip
RANDOM = {"AutoencoderKL", "VNet"}  # draw noise in the order of memory, so that two orders are two different numbers
UNEVEN = {2: (0, 0.3, 1), 3: (0, 0.2, 0.85, 1), 4: (0, 0.1, 0.5, 0.6, 1)}


def status(name: str) -> float:
    """Return a line of /proc/self/status in MiB."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name))
    return int(line.split()[1]) / 1024


def steps(kind: str, size: int, parts: int, device: str) -> dict:
    """Return the steps that can be timed: plain on this process's volume, and spread."""
    torch.manual_seed(0)
    network = BasicUNet(3, 1, 1).to(device)
    keep = "disk" if device == "cpu" else "host"
    rows = size // parts if kind in TOGETHER else size

    def volume(start: int, stop: int) -> torch.Tensor:
        return torch.randn(1, 1, stop - start, size, size)

    def plain() -> None:
        (network(volume(0, rows).to(device)) ** 2).mean().backward()

    def shared() -> None:
        own = volume(0, rows).to(device)  # made inside of the context it would be the same on every rank, and whole
        with spatial_parallel():
            loss = (network(own) ** 2).mean() / parts
        loss.backward()

    def slabs() -> None:
        with out_of_core(parts, device=device, keep=keep) as context:
            loss = (network(context.from_rows(volume, size)) ** 2).mean()
        loss.backward()

    (network(torch.randn(1, 1, 32, 32, 32, device=device)) ** 2).mean().backward()  # the gradients are there before
    return {"plain": plain, "shared": shared, "slabs": slabs}


def autocast_gap(device: str) -> float:
    """Largest difference between gradients under bfloat16 autocast in slabs and in float32, over the largest."""
    torch.manual_seed(0)
    network, x = BasicUNet(3, 1, 1).to(device), torch.randn(1, 1, 64, 64, 64)
    parameters = list(network.parameters())
    wanted = torch.autograd.grad((network(x.to(device)) ** 2).mean(), parameters)
    with torch.autocast(device, torch.bfloat16), out_of_core(4, device=device) as context:
        loss = (network(context.cut(x)).float() ** 2).mean()
    found = torch.autograd.grad(loss, parameters)
    gap = max((a - b).abs().max() for a, b in zip(found, wanted))
    return float(gap / max(one.abs().max() for one in wanted))


def once(step: Callable[[], None], limit: int | None, device: str) -> dict:
    """Carry out a step, below a limit in MiB where there is one; seconds and peak, or that it failed."""
    base = status("VmRSS")
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated() / MEBIBYTE
        if limit is not None:
            share = limit * MEBIBYTE / torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(share)
    elif limit is not None:
        largest = (int(status("VmData")) + limit) * MEBIBYTE
        resource.setrlimit(resource.RLIMIT_DATA, (largest, largest))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    began = time.perf_counter()
    try:
        step()
    except RuntimeError as error:  # torch has no kind of its own for a CPU
        if not any(word in str(error).lower() for word in ("memory", "primitive")):  # oneDNN: of a primitive
            raise
        return {"fits": False}
    peak = status("VmHWM")
    if device == "cuda":
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() / MEBIBYTE
    return {"fits": True, "seconds": time.perf_counter() - began, "peak_mib": peak - base}


def work(arguments: argparse.Namespace) -> None:
    """Measure in this process; the first one prints."""
    torch.set_num_threads(1)
    kind, parts, device = arguments.work, arguments.parts, "cuda" if arguments.gpu else "cpu"
    together = kind in TOGETHER
    if together:
        dist.init_process_group("gloo")
    found: dict = {}
    if kind == "autocast":
        found = {"gap": autocast_gap(device)}
    elif kind == "overhead":
        available = steps(kind, arguments.size, parts, device)
        seconds: dict[str, list[float]] = {"plain": [], "shared": []}
        for _ in range(arguments.repeats):
            for name, times in seconds.items():
                dist.barrier()
                began = time.perf_counter()
                available[name]()
                dist.barrier()
                times.append(time.perf_counter() - began)
        found = {name: statistics.median(times) for name, times in seconds.items()}
    else:
        found = once(steps(kind, arguments.size, parts, device)[kind], arguments.limit, device)
    if together:
        gathered: list = [None] * parts
        dist.all_gather_object(gathered, found)
        found = {name: max(one[name] for one in gathered) for name in found}
    if not together or dist.get_rank() == 0:
        print("FOUND " + json.dumps(found), flush=True)
    if together:
        dist.destroy_process_group()


def measured(kind: str, size: int, parts: int, repeats: int = 1, limit: int | None = None, gpu: bool = False) -> dict:
    """Measure in processes of their own."""
    program = [__file__, "--work", kind, "--size", str(size), "--parts", str(parts), "--repeats", str(repeats)]
    program += [] if limit is None else ["--limit", str(limit)]
    program += ["--gpu"] if gpu else []
    launcher = [sys.executable]
    if kind in TOGETHER:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(parts)]
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *program], env=environment, capture_output=True, text=True, check=False)
    line = next((one for one in done.stdout.splitlines() if one.startswith("FOUND ")), None)
    if line is None and limit is not None:
        return {"fits": False}
    if line is None:
        sys.exit(f"{kind} failed:\n{done.stderr[-2000:]}")
    result: dict = json.loads(line.removeprefix("FOUND "))
    return result


def show_exactness(names: Sequence[str]) -> dict:
    """Print a table of the networks of the tests."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from parallel_networks import own_rounding
    from rank_pool import get_pool

    results: dict[str, Any] = {}
    for name in names:
        for d in NETWORKS[name]:
            if name not in RANDOM:
                results[f"{name} {d}D float32 itself"] = itself = own_rounding(name, d)
                print(f"{name:<14} {d}D float32 one process differs from itself: gradients {itself:.1e}", flush=True)
            for dtype in ("float64", "float32"):
                for parts, bounds in UNEVEN.items():
                    options = {"dtype": getattr(torch, dtype), "batch": 1 if name == "SwinUNETR" else 2}
                    answers = get_pool().run(
                        parts, "parallel_networks:compare_with", name, d, bounds, (), options, timeout=1800
                    )
                    refused = next((one.refused for one in answers if one.refused), "")
                    found = {one: max(getattr(rank, one) for rank in answers) for one in ("outputs", "gradients")}
                    results[f"{name} {d}D {dtype} {parts}"] = refused or found
                    text = refused or f"outputs {found['outputs']:.1e}, gradients {found['gradients']:.1e}"
                    print(f"{name:<14} {d}D {dtype} {parts} processes: {text}", flush=True)
    return results


def largest_plain(limit: int) -> tuple[int, dict]:
    """Return the side of the largest volume that one process trains at once, and how its step went."""
    side, best = 0, {}
    for wider in SIDES:
        one = measured("plain", wider, 1, limit=limit)
        print(f"  plain {wider}^3: {_told(one)}", flush=True)
        if not one["fits"]:
            break
        side, best = wider, one
    return side, best


def show_limit(limit: int, most: float) -> dict:
    """Print the largest volumes in `limit` MiB; those in slabs are not tried beyond `most` times the plain one."""
    side, plain = largest_plain(limit)
    if not side:
        sys.exit(f"{limit} MiB are too little for any volume")
    at, best = 0, {}
    for factor in (one for one in FACTORS if one <= most):
        wider = STEP * round(side * factor ** (1 / 3) / STEP)
        one = measured("slabs", wider, wider // SLAB_ROWS, limit=limit)
        print(f"  slabs {wider}^3, {wider // SLAB_ROWS} in turn: {_told(one)}", flush=True)
        if not one["fits"]:
            break
        at, best = wider, one
    results = {"limit_mib": limit, "plain": {"side": side, **plain}, "slabs": {"side": at, **best}}
    if at:
        results["volumes"] = volumes = (at / side) ** 3
        results["slowdown"] = slower = best["seconds"] / at**3 / (plain["seconds"] / side**3)
        print(f"in {limit} MiB: {side}^3 plain, {at}^3 in slabs: {volumes:.1f} times the voxels, "
              f"{slower:.2f} times the seconds a voxel")  # fmt: skip
    return results


def show_cuda(size: int) -> dict:
    """Print what a capped GPU can train."""
    if not torch.cuda.is_available():
        sys.exit("cuda: no GPU here")
    free = measured("plain", size, 1, gpu=True)
    limit = int(0.7 * free["peak_mib"])
    found = {
        "without a limit": free,
        "one process": measured("plain", size, 1, limit=limit, gpu=True),
        "two processes on the device": measured("shared", size, 2, limit=limit, gpu=True),
        "8 slabs in turn": measured("slabs", size, 8, limit=limit, gpu=True),
        "8 slabs in turn, twice the side": measured("slabs", 2 * size, 64, limit=limit, gpu=True),
    }
    for name, one in found.items():
        print(f"{name}: {_told(one)}" + ("" if one is free else f" (each process has {limit} MiB)"))
    found["autocast"] = gap = measured("autocast", size, 4, gpu=True)
    print(f"bfloat16 autocast in slabs: gradients differ by {gap['gap']:.1e} of the largest")
    return found


def _told(one: dict) -> str:
    return f"peak {one['peak_mib']:.0f} MiB, {one['seconds']:.1f} s" if one["fits"] else "out of memory"


def show_memory(chosen: tuple[str, ...], size: int) -> dict:
    """Print peaks of a step, whole, shared and in slabs."""
    plain = measured("plain", size, 1)
    results = {"plain": plain}
    print(f"one process: {_told(plain)}", flush=True)
    for parts in (2, 4) if "memory" in chosen else ():
        results[f"shared by {parts}"] = one = measured("shared", size, parts)
        ratio = one["peak_mib"] / (plain["peak_mib"] / parts)
        print(f"shared by {parts} processes: {_told(one)} each, {ratio:.2f} / {parts} of one", flush=True)
    for parts in (8, 16, 32) if "out_of_core" in chosen else ():
        results[f"{parts} slabs"] = one = measured("slabs", size, parts)
        print(f"{parts} slabs in turn: {_told(one)}, 1 / {plain['peak_mib'] / one['peak_mib']:.1f} of the memory, "
              f"{one['seconds'] / plain['seconds']:.2f} times the seconds", flush=True)  # fmt: skip
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", metavar="PART", help=", ".join([*PARTS, "cuda"]))
    parser.add_argument("--size", type=int, default=128, help="voxels a side")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=int, help="MiB (600)")
    parser.add_argument("--most", type=float, default=27, help="stop at so many times the plain volume (64: 100 GB)")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="of exactness (each)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--gpu", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--parts", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments)
        return
    if unknown := set(arguments.part) - {*PARTS, "cuda"}:
        parser.error(f"no part {', '.join(sorted(unknown))}: {', '.join([*PARTS, 'cuda'])}")
    chosen, size, results = tuple(arguments.part) or PARTS, arguments.size, {}
    print(f"BasicUNet, {size}^3 voxels, torch {torch.__version__}")
    if "exactness" in chosen:
        results["exactness"] = show_exactness(arguments.network or list(NETWORKS))
    if "memory" in chosen or "out_of_core" in chosen:
        results |= show_memory(chosen, size)
    if "overhead" in chosen:
        results["overhead"] = one = measured("overhead", size, 2, arguments.repeats)
        print(f"two processes: {one['shared']:.2f} s, without messages {one['plain']:.2f} s, "
              f"ratio {one['shared'] / one['plain']:.3f}")  # fmt: skip
    if "limit" in chosen:
        results["limit"] = show_limit(arguments.limit or 600, arguments.most)
    if "cuda" in chosen:
        results["cuda"] = show_cuda(size)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
