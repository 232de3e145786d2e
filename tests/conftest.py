"""What tests share: where the real images are."""

import os
from pathlib import Path

import pytest
from blobs import OVERRIDES, make_blobs


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images; tests that need it are skipped without it."""
    folder = os.environ.get("MEDSEG_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real images are not here: set MEDSEG_TEST_DATA")
    return Path(folder)


def pytest_collection_modifyitems(config, items):
    if os.environ.get("CI") == "true" or config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="slow: run with CI=true or `make test-all`")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def blobs(tmp_path_factory) -> Path:
    """A small synthetic data set with masks."""
    return make_blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="session")
def trained(blobs, tmp_path_factory) -> Path:
    """A run that was trained on the synthetic data set."""
    from medseg.training.train import train

    return train("brain_infarct", blobs, tmp_path_factory.mktemp("runs") / "run", overrides=OVERRIDES)
