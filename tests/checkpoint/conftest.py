"""The checkpoint that these tests load, damage and replace."""

import pytest

from wavenet import checkpoint

from . import make


@pytest.fixture
def folder(tmp_path):
    """Save a tiny model and return its folder."""
    config, model = make()
    checkpoint.save(tmp_path / "tiny", config, model)
    return tmp_path / "tiny"
