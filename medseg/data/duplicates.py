"""Exact and near duplicates among images, within and across patients."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

__all__ = ["DuplicatePair", "Signature", "find_duplicates", "signature"]

SIDE = 64
NEAR = 0.9985  # correlation of small pictures from which two images are called near duplicates


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """What an image is recognised by: the digest of its values and a small standardised picture."""

    digest: str
    picture: np.ndarray


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images that are the same, or almost; `kind` is exact or near."""

    case_a: str
    case_b: str
    kind: str
    across_patients: bool


def signature(array: np.ndarray) -> Signature:
    """Signature of an image of shape (channel, z, y, x); of a volume the middle slice is pictured."""
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes() + str(array.shape).encode()).hexdigest()
    middle = array[0, array.shape[1] // 2].astype(np.float32)
    small = np.asarray(Image.fromarray(middle).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64).ravel()
    centred = small - small.mean()
    return Signature(digest, centred / max(float(np.linalg.norm(centred)), 1e-12))


def find_duplicates(signatures: Mapping[str, Signature], patients: Mapping[str, str]) -> list[DuplicatePair]:
    """List pairs of exact and near duplicates among all images."""
    names = list(signatures)
    pairs: list[DuplicatePair] = []
    exact: set[tuple[str, str]] = set()
    by_digest: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for other in by_digest[signatures[name].digest]:
            exact.add((other, name))
            pairs.append(DuplicatePair(other, name, "exact", patients[other] != patients[name]))
        by_digest[signatures[name].digest].append(name)
    pictures = np.array([signatures[name].picture for name in names])
    for start in range(0, len(names), 512):
        close = np.argwhere(pictures[start : start + 512] @ pictures.T > NEAR)
        for i, j in close:
            a, b = names[start + i], names[j]
            if start + i < j and (a, b) not in exact:
                pairs.append(DuplicatePair(a, b, "near", patients[a] != patients[b]))
    return pairs
