"""Time and memory of reading and writing .nii.gz, beside nibabel's.

    python scripts/bench/nifti.py [--slices 300] [--repeats 3] [--map]

A chest-like volume of int16 (a body with noise in air; with --map, float32 probabilities) of `slices` x 512 x 512 is
made, written and read, each time in a process of its own, alternating with nibabel; the file is in the cache of the
system. Printed: the medians of seconds and of their ratio a round, the sizes of the files, and the highest resident
memory (``getrusage``) of reading above that before, as a multiple of the float32 array. Values are compared with
nibabel's.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def chest(n_slices: int, as_map: bool) -> np.ndarray:
    """A volume of shape (z, y, x), int16 or float32."""
    y, x = np.mgrid[:512, :512]
    body = (x - 256) ** 2 + (y - 256) ** 2 < 220**2
    random = np.random.default_rng(0)
    noise = 20 * random.standard_normal((n_slices, 512, 512), dtype=np.float32)
    if as_map:
        return np.where(body, 1 / (1 + np.exp(-noise / 20)), np.float32(0))
    return np.where(body, noise.astype(np.int16), np.int16(-1000))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB


def measure(task: str, folder: Path, n_slices: int, as_map: bool) -> None:
    """Do one task, and print seconds and, of reading, the memory."""
    import nibabel as nib

    from medseg.imaging import read, write_volume
    from medseg.volume import Grid, Volume

    affine = np.diag([0.7, 0.7, 1.0, 1.0])
    action, who = task.split("-")

    def write(stored: np.ndarray, volume: Volume, file: Path) -> None:
        if who == "medseg":
            write_volume(file, volume)
        else:
            nib.save(nib.Nifti1Image(stored.T, np.diag([-1, -1, 1, 1]) @ affine), file)

    def load(file: Path) -> np.ndarray:
        return read(file).array if who == "medseg" else nib.load(file).get_fdata(dtype=np.float32)

    for n in (1, n_slices):  # the first, of one slice, is for what is imported on the way
        file = folder / f"{who if action == 'write' and n == n_slices else 'warm'}.nii.gz"
        stored = chest(n, as_map) if action == "write" or n == 1 else None
        if stored is not None:
            volume = Volume(stored[None].astype(np.float32), Grid(stored.shape, affine))
            start = time.perf_counter()
            write(stored, volume, file)
            seconds, ratio = time.perf_counter() - start, 0.0
        if action == "read":
            before, start = peak_mb(), time.perf_counter()
            values = load(file if n == 1 else folder / "medseg.nii.gz")
            seconds = time.perf_counter() - start
            ratio = (peak_mb() - before) / (values.nbytes / 2**20)
    print(seconds, ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--map", action="store_true", help="float32 instead of int16")
    parser.add_argument("--task", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        measure(arguments.task[0], Path(arguments.task[1]), arguments.slices, arguments.map)
        return
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, list[tuple[float, float]]] = {}
        for _ in range(arguments.repeats):
            for task in ("write-medseg", "write-nibabel", "read-medseg", "read-nibabel"):
                command = [sys.executable, __file__, "--slices", str(arguments.slices), "--task", task, folder]
                command += ["--map"] * arguments.map
                line = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                results.setdefault(task, []).append((float(line[0]), float(line[1])))
        for action in ("write", "read"):
            pairs = list(zip(results[f"{action}-medseg"], results[f"{action}-nibabel"]))
            ours, theirs = (statistics.median(pair[who][0] for pair in pairs) for who in (0, 1))
            ratio = statistics.median(pair[1][0] / pair[0][0] for pair in pairs)
            print(f"{action}: medseg {ours:.2f} s, nibabel {theirs:.2f} s, {ratio:.1f}x")
        sizes = [os.path.getsize(Path(folder, f"{who}.nii.gz")) / 1e6 for who in ("medseg", "nibabel")]
        print(f"files: medseg {sizes[0]:.1f} MB, nibabel {sizes[1]:.1f} MB")
        memory = [max(ratio for _, ratio in results[f"read-{who}"]) for who in ("medseg", "nibabel")]
        print(f"peak memory of reading over the float32 array: medseg {memory[0]:.2f}, nibabel {memory[1]:.2f}")
        import nibabel as nib

        values = [np.asarray(nib.load(Path(folder, f"{who}.nii.gz")).dataobj) for who in ("medseg", "nibabel")]
        print(f"same values: {np.array_equal(*values)}, type {values[0].dtype}")


if __name__ == "__main__":
    main()
