"""The same series read by others: SimpleITK's series reader and dcm2niix; compared in the world, not by index."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["DCM2NIIX", "PeerRefused", "PeerVolume", "read_by_dcm2niix", "read_by_simpleitk", "same_in_world"]

DCM2NIIX = shutil.which("dcm2niix")
SECONDS = 120  # for one folder
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI's axes -> LPS


class PeerRefused(Exception):
    """The other program gives no image, with what it says."""


@dataclass(frozen=True, slots=True, eq=False)
class PeerVolume:
    """`array` (z, y, x) and `affine` (x, y, z, 1) -> LPS mm."""

    array: np.ndarray
    affine: np.ndarray


def read_by_simpleitk(folder: Path) -> list[PeerVolume]:
    """Each series that GDCM finds in a folder, as its series reader puts it together."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    volumes = []
    for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)):
        files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
        try:
            image = sitk.ReadImage(files[0] if len(files) == 1 else files)
        except RuntimeError as error:
            raise PeerRefused(str(error).strip().splitlines()[-1]) from error
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() > 1:
            raise PeerRefused(f"an image of {image.GetDimension()} dimensions in {image.GetPixelIDTypeAsString()}")
        affine = np.eye(4)
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
        volumes.append(PeerVolume(sitk.GetArrayFromImage(image).astype(np.float32), affine))
    if not volumes:
        raise PeerRefused("no series found")
    return volumes


def read_by_dcm2niix(folder: Path, output: Path) -> list[PeerVolume]:
    """All volumes that dcm2niix writes for a folder; 4D images are taken apart."""
    import nibabel as nib

    if DCM2NIIX is None:
        raise PeerRefused("dcm2niix is not installed")
    output.mkdir(parents=True)
    command = [DCM2NIIX, "-z", "n", "-b", "n", "-f", "%s_%i_%p", "-o", str(output), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    files = sorted(output.glob("*.nii"))
    if not files:
        raise PeerRefused((done.stdout + done.stderr).strip().splitlines()[-1])
    volumes = []
    for file in files:
        image = nib.load(file)
        if image.get_data_dtype().fields:
            raise PeerRefused("a colour image")
        array = np.asarray(image.get_fdata(dtype=np.float32))
        frames = array.reshape(*array.shape[:3], -1) if array.ndim > 2 else array[..., None, None]
        volumes += [PeerVolume(frames[..., t].T, RAS @ image.affine) for t in range(frames.shape[3])]
    return volumes


def same_in_world(found: PeerVolume, reference: PeerVolume, *, tolerance: float = 1e-2) -> bool:
    """Whether both hold the same values at the same positions, whatever the order of their axes.

    Parameters
    ----------
    tolerance : float
        Of the values; positions may differ by a hundredth of a voxel.
    """
    if found.array.size != reference.array.size:
        return False
    z, y, x = (axis.ravel() for axis in np.indices(reference.array.shape))
    world = np.stack([x, y, z], axis=1) @ reference.affine[:3, :3].T + reference.affine[:3, 3]
    inverse = np.linalg.inv(found.affine)
    index = world @ inverse[:3, :3].T + inverse[:3, 3]
    nearest = np.rint(index).astype(int)
    last = np.array(found.array.shape[::-1]) - 1
    if np.abs(index - nearest).max() > 1e-2 or (nearest < 0).any() or (nearest > last).any():
        return False
    values = found.array[nearest[:, 2], nearest[:, 1], nearest[:, 0]]
    return bool(np.abs(values - reference.array.ravel()).max() <= tolerance)
