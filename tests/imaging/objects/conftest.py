"""What tests of DICOM objects share."""

import pytest

from medseg.imaging.objects.write import write_object


@pytest.fixture
def saved(tmp_path):
    """Write an object; return its path."""

    def save(dataset):
        write_object(tmp_path / "object.dcm", dataset)
        return tmp_path / "object.dcm"

    return save
