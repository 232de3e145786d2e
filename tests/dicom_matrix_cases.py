"""Which series of the matrix are tried: products of what belongs together, and a sample of all with all."""

from dataclasses import replace
from itertools import product

import numpy as np
from dicom_matrix import ORIENTATIONS, Case

TILTS, MISSING, DOUBLED = (0.0, 10.0, -15.0), ((), (3,), (2, 5)), ("", "identical", "different", "copy")
SPLITS = ("echo", "b", "phase", "trigger", "acquisition", "type")
ODD = ("localizer", "matrix", "one", "two", "two_unsure", "two_stacks", "two_spacings")
LOSSLESS = (
    "ImplicitVRLittleEndian", "ExplicitVRBigEndian", "DeflatedExplicitVRLittleEndian", "RLELossless", "JPEGLossless",
    "JPEGLosslessSV1", "JPEGLSLossless", "JPEG2000Lossless", "HTJ2KLossless", "HTJ2KLosslessRPCL",
)  # fmt: skip
LOSSY = {"JPEGBaseline8Bit": 8, "JPEGExtended12Bit": 12, "JPEGLSNearLossless": 12, "JPEG2000": 12, "HTJ2K": 12}  # bits
FORMATS = ((8, False), (12, False), (12, True), (16, False), (16, True))  # bits stored, signed
RESCALES = ("", "ct", "fine", "per_slice")


def geometry() -> list[Case]:
    """Orientation x direction of the normal x tilt x missing x doubled, one or two interleaved echoes: 720 series."""
    return [
        Case(orientation, flipped, tilt, missing, doubled, split)
        for orientation, flipped, tilt, missing, doubled, split in product(
            ORIENTATIONS, (False, True), TILTS, MISSING, DOUBLED, ("", "echo")
        )
    ]


def pixel_formats() -> list[Case]:
    """Transfer syntax x bits x sign, and rescaling x bits x sign."""
    cases = [
        Case(syntax=syntax, bits=bits, signed=signed, orientation=orientation, enhanced=enhanced)
        for syntax, (bits, signed) in product(LOSSLESS, FORMATS)
        for orientation, enhanced in (("oblique", False), ("sagittal", True))
    ]
    cases += [
        Case(syntax=syntax, bits=bits, signed=False, enhanced=enhanced)
        for syntax, bits in LOSSY.items()
        for enhanced in (False, True)
    ]
    for (bits, signed), rescale in product(FORMATS, RESCALES):
        rescale = {"ct": "", "fine": "coarse", "per_slice": "coarse"}.get(rescale, "") if bits == 8 else rescale
        if not (rescale == "ct" and bits == 12 and signed):  # values near 0 HU need 13 bits then
            cases.append(Case(bits=bits, signed=signed, rescale=rescale))
    return list(dict.fromkeys(cases))


def several_volumes() -> list[Case]:
    """What makes several volumes x classic or multi-frame x CT or MR x tilt, and odd series."""
    cases = [
        Case(split=split, enhanced=enhanced, modality=modality, tilt=tilt, orientation="oblique")
        for split, enhanced, modality, tilt in product(SPLITS, (False, True), ("CT", "MR"), TILTS[:2])
    ]
    return cases + [Case(orientation=orientation, odd=odd) for odd, orientation in product(ODD, ORIENTATIONS)]


def sample(number: int, *, seed: int = 0) -> list[Case]:
    """Everything with everything, drawn at random."""
    random = np.random.default_rng(seed)
    cases = []
    while len(cases) < number:
        bits, signed = FORMATS[random.integers(len(FORMATS))]
        case = Case(
            orientation=str(random.choice(ORIENTATIONS)),
            flipped=bool(random.integers(2)),
            tilt=float(random.choice(TILTS)),
            missing=MISSING[random.integers(len(MISSING))],
            doubled=str(random.choice(DOUBLED)),
            split=str(random.choice(("", *SPLITS))),
            syntax=str(random.choice(("", *LOSSLESS))),
            bits=bits,
            signed=signed,
            rescale="" if bits == 8 or signed else str(random.choice(RESCALES)),
            modality=str(random.choice(("CT", "MR"))),
            enhanced=bool(random.integers(2)),
        )
        cases.append(replace(case, doubled="") if case.enhanced and case.doubled == "copy" else case)
    return list(dict.fromkeys(cases))


def everything() -> list[Case]:
    """The whole matrix."""
    return list(dict.fromkeys([*geometry(), *pixel_formats(), *several_volumes(), *sample(150)]))


def quick() -> list[Case]:
    """Each setting once and the likely pairs."""
    plain = Case()
    cases = [replace(plain, orientation=name, flipped=flip) for name, flip in product(ORIENTATIONS, (False, True))]
    cases += [Case(orientation=name, tilt=tilt) for name in ("axial", "double_oblique") for tilt in TILTS[1:]]
    cases += [Case(missing=missing, tilt=tilt) for missing in MISSING[1:] for tilt in TILTS[:2]]
    cases += [Case(doubled=doubled) for doubled in DOUBLED[1:]]
    cases += [Case(split=split, enhanced=enhanced) for split in SPLITS for enhanced in (False, True)]
    cases += [Case(split="echo", missing=(3,)), Case(split="b", doubled="different"), *map(_odd, ODD)]
    cases += [Case(syntax=syntax) for syntax in LOSSLESS]
    cases += [Case(syntax=syntax, bits=bits, signed=False) for syntax, bits in LOSSY.items()]
    cases += [Case(bits=bits, signed=signed) for bits, signed in FORMATS]
    cases += [Case(rescale=rescale, bits=12, signed=False) for rescale in RESCALES]
    cases += [Case(enhanced=True, modality=name, rescale=scale) for name in ("CT", "MR") for scale in ("", "per_slice")]
    return list(dict.fromkeys(cases))


def _odd(name: str) -> Case:
    return Case(odd=name)
