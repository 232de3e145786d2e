"""Time and memory of the exact voxel figures on synthetic cases, made one at a time, and equality with scikit-learn.

    python scripts/bench/voxels.py [--cases 400] [--size 500] [--share 0.01 0.4] [--dtype float32] [--small 8]

Each share of lesion voxels runs in a process of its own, whose highest resident memory (``getrusage``) is printed: it
holds the interpreter, NumPy, SciPy, and the cases as they pass. The cases are synthetic: discs with normally
distributed log odds, all but distinct scores, which is the hardest case for memory. The seconds of making the cases
(twice, as the figures go through them twice) are printed apart. The first few cases are then given to scikit-learn.
"""

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np

from medseg.evaluation.voxels import voxel_figures


@dataclass(frozen=True, slots=True)
class SyntheticCases:
    """Cases made anew each time they are gone through; the same ones each time."""

    n_cases: int
    size: int
    share: float
    dtype: str

    def __iter__(self):
        n_discs = 1 if self.share > 0.1 else 4
        radius = np.sqrt(self.share * self.size**2 / n_discs / np.pi)
        y, x = np.mgrid[: self.size, : self.size].astype(np.float32)
        for number in range(self.n_cases):
            random = np.random.default_rng(number)
            mask = np.zeros((self.size, self.size), bool)
            for cy, cx in [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)] if n_discs == 4 else [(0.5, 0.5)]:
                mask |= (y - cy * self.size) ** 2 + (x - cx * self.size) ** 2 < radius**2
            score = random.standard_normal(mask.shape, dtype=self.dtype)
            score[mask] += 2
            np.negative(score, out=score)
            np.exp(score, out=score)
            score += 1
            yield np.reciprocal(score, out=score), mask


def measure(cases: SyntheticCases) -> None:
    """Print figures, seconds and the highest resident memory of this process."""
    start = time.perf_counter()
    for _ in range(2):
        for _case in cases:
            pass
    made = time.perf_counter() - start
    start = time.perf_counter()
    figures = voxel_figures(cases)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # Linux counts in KiB
    print(
        f"synthetic, {cases.n_cases} x {cases.size} x {cases.size} {cases.dtype}: {figures.n_voxels:.3g} voxels, "
        f"{figures.n_lesion_voxels / figures.n_voxels:.1%} lesion, {figures.n_regions} regions: {seconds:.1f} s, of "
        f"which {made:.1f} s make the cases; highest resident memory {peak:.2f} GiB"
    )
    print(f"    AP {figures.average_precision:.6f}  ROC {figures.roc_auc:.6f}  PRO {figures.aupro:.6f}")


def compare(cases: SyntheticCases) -> None:
    """Print the difference from scikit-learn, which holds all voxels."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    figures, pairs = voxel_figures(cases), list(cases)
    score = np.concatenate([probability.ravel() for probability, _ in pairs])
    truth = np.concatenate([mask.ravel() for _, mask in pairs])
    print(
        f"    difference from scikit-learn on {len(pairs)} cases, {len(score):.3g} voxels: "
        f"AP {abs(figures.average_precision - average_precision_score(truth, score)):.1e}, "
        f"ROC {abs(figures.roc_auc - roc_auc_score(truth, score)):.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--share", type=float, nargs="+", default=[0.01, 0.4])
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--small", type=int, default=8, help="cases that are compared with scikit-learn")
    given = parser.parse_args()
    if len(given.share) > 1:
        for share in given.share:
            options = [f"--{name}={getattr(given, name)}" for name in ("cases", "size", "dtype", "small")]
            subprocess.run([sys.executable, __file__, *options, f"--share={share}"], check=True)
        return
    measure(SyntheticCases(given.cases, given.size, given.share[0], given.dtype))
    compare(SyntheticCases(given.small, given.size, given.share[0], given.dtype))


if __name__ == "__main__":
    main()
