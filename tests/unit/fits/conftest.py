import pytest
from unit.fits.tiny_study import tiny_study, write_inputs


@pytest.fixture
def study(tmp_path):
    """A study of noise with its files, and only the keys of the config that a fit may read."""
    write_inputs(tmp_path / "results")
    return tiny_study(tmp_path / "results")
