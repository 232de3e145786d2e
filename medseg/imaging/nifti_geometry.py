"""Where a NIfTI file says its voxels are: sform, qform, units.

The rules are those of nifti1.h ("3D IMAGE (VOLUME) ORIENTATION AND LOCATION IN SPACE").
"""

from pathlib import Path

import numpy as np

from medseg.errors import GeometryError
from medseg.imaging.affine import scaled
from medseg.volume import Note

__all__ = ["RAS_TO_LPS", "nifti_affine"]

RAS_TO_LPS = (-1.0, -1.0, 1.0)  # its own inverse
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre
UNIT_NAMES = {1: "metres", 3: "micrometres"}
TEMPLATES = {3: "Talairach and Tournoux", 4: "MNI 152", 5: "another template"}  # codes 1 and 2 are the patient's own
WORTH_SAYING = 0.01  # voxels between sform and qform


def nifti_affine(path: Path, header: np.void, shape_xyz: tuple[int, int, int]) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Return the affine from (x, y, z, 1) to LPS mm, and what there is to say about it.

    Parameters
    ----------
    header : numpy.void
        A NIfTI-1 or NIfTI-2 header by field names.
    shape_xyz : tuple of int
        Voxels, to judge how far sform and qform are apart.

    Raises
    ------
    GeometryError
        When no form is coded, both are and contradict each other by more than a voxel and 1 mm, a spacing is not
        above 0, or a unit or code is unknown.
    """
    codes = {form: int(header[f"{form}_code"]) for form in ("sform", "qform")}
    for form, code in codes.items():
        if not 0 <= code <= 5:
            raise GeometryError(f"{path}: {form}_code {code} is not one of 0 to 5; correct its header")
    if not any(codes.values()):
        raise GeometryError(f"{path}: neither sform nor qform says where the voxels are; convert it again")
    unit = int(header["xyzt_units"]) & 7
    if unit not in MM_PER_UNIT:
        raise GeometryError(f"{path}: its unit of length, code {unit}, is unknown; expected mm (2)")
    n_axes = int(header["dim"][0])
    spacing = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    used = spacing[: n_axes if codes["sform"] else 3]
    if not np.isfinite(used).all() or (used <= 0).any():
        raise GeometryError(f"{path}: spacing {used.tolist()} is not above 0 mm; correct its header")
    affine, notes = _choose(path, header, codes, shape_xyz)
    affine = scaled(affine, [MM_PER_UNIT[unit]] * 3)
    if unit in UNIT_NAMES:
        notes.append(Note("unit", f"lengths in {UNIT_NAMES[unit]} were converted to mm", warning=True))
    elif unit == 0:
        notes.append(Note("unit", "the unit of length is not stated: mm, as the format is used"))
    code = codes["sform"] or codes["qform"]
    if code in TEMPLATES:
        notes.append(Note("template_space", f"coordinates are those of {TEMPLATES[code]}, not the patient's own"))
    return scaled(affine, RAS_TO_LPS), tuple(notes)


def _choose(
    path: Path, header: np.void, codes: dict[str, int], shape_xyz: tuple[int, int, int]
) -> tuple[np.ndarray, list[Note]]:
    """Return the sform where it is coded, the qform otherwise, in the file's unit; both are compared."""
    if not codes["sform"]:
        return _qform(path, header)[0], []
    rows = [np.asarray(header[f"srow_{axis}"], dtype=np.float64) for axis in "xyz"]
    sform = np.array([*rows, [0.0, 0.0, 0.0, 1.0]])
    if not np.isfinite(sform).all():
        raise GeometryError(f"{path}: its sform {sform[:3].tolist()} is not finite; correct its header")
    edges = np.linalg.norm(sform[:3, :3], axis=0)
    spacing = np.asarray(header["pixdim"][1:4], dtype=np.float64)[: int(header["dim"][0])]
    if not codes["qform"]:
        if np.allclose(edges[: len(spacing)], spacing, rtol=0.01):
            return sform, []
        text = f"pixdim says a spacing of {spacing.tolist()}, sform {edges.tolist()} (x, y, z); sform was used"
        return sform, [Note("pixdim_sform", text, warning=True)]
    try:
        qform, slack = _qform(path, header)
    except GeometryError as error:
        text = f"qform cannot be used, sform was ({str(error).removeprefix(f'{path}: ')})"
        return sform, [Note("sform_qform", text, warning=True)]
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in shape_xyz])).reshape(3, -1)
    corners = np.vstack([ends, np.ones(8)])
    gap = float(np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max())
    unit = MM_PER_UNIT[int(header["xyzt_units"]) & 7]
    if not gap * unit <= max(1.0, float(edges.max()) * unit):
        raise GeometryError(f"{path}: sform and qform differ by up to {gap * unit:.1f} mm; correct one of them")
    reach = float(np.linalg.norm(edges * shape_xyz))
    if gap > WORTH_SAYING * float(edges.min()) + slack * reach:
        text = f"sform and qform differ by up to {gap * unit:.3g} mm; sform was used"
        return sform, [Note("sform_qform", text, warning=True)]
    return sform, []


def _qform(path: Path, header: np.void) -> tuple[np.ndarray, float]:
    """Return method 2 of nifti1.h, and the angle (radians) that its rounding leaves open.

    Only b, c, d are stored. A rotation by nearly 180 degrees has a small a = sqrt(1 - b^2 - c^2 - d^2), whose error
    is that of the root's argument divided by 2 a; within that error, a is 0.
    """
    b, c, d = (float(header[f"quatern_{part}"]) for part in "bcd")
    offset = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    factor = float(header["pixdim"][0])
    spacing = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    square = 1.0 - (b * b + c * c + d * d)
    rounding = 3 * float(np.finfo(header["quatern_b"].dtype).eps)  # float32 in NIfTI-1, float64 in NIfTI-2
    if not np.isfinite([square, *offset]).all() or square < -rounding:
        raise GeometryError(f"{path}: its qform, quaternion {[b, c, d]} at {offset}, is not a rotation and a place")
    if factor not in (-1.0, 0.0, 1.0):  # 0 counts as 1, says nifti1.h
        raise GeometryError(f"{path}: qfac {factor} is neither 1 nor -1, so that its handedness is open")
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise GeometryError(f"{path}: spacing {spacing.tolist()} is not above 0 mm; correct its header")
    if square < rounding:
        a, (b, c, d) = 0.0, np.array([b, c, d]) / np.linalg.norm([b, c, d])
    else:
        a = float(np.sqrt(square))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * (spacing * [1.0, 1.0, factor or 1.0])
    affine[:3, 3] = offset
    return affine, rounding / max(a, float(np.sqrt(rounding)))
