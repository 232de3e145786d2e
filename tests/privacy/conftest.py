"""A planted study."""

import pytest
from dicom_series import write_series
from planted import ID, plant


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Folder of two series of the patient, whose number is in the path too."""
    folder = tmp_path_factory.mktemp("archive") / ID / "CT"
    for seed in (1, 2):
        write_series(folder / f"YAMADA TARO {seed}", patient_id=ID, seed=seed)
    for file in folder.rglob("*.dcm"):
        plant(file)
    return folder
