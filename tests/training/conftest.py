"""Fixtures of the tests of the loop: a model with conditions, and clips for it."""

import pytest

from wavenet.model.conditions import LabelCondition, PositionCondition

from . import make_config, make_dataset


@pytest.fixture
def conditioned():
    """Return a config and a dataset with a label and a position."""
    conditions = (LabelCondition(name="digit", values=("0", "1")), PositionCondition(harmonics=1))
    return make_config(conditions), make_dataset({"digit": "1"})
