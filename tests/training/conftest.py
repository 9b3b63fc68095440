"""What the tests of the loop share: the CPU whatever there is, and a model with conditions."""

import pytest
import torch

from wavenet.model.conditions import LabelCondition, PositionCondition
from wavenet.training import loop

from . import CPU, make_config, make_dataset


@pytest.fixture
def one_thread_of_the_cpu(monkeypatch):
    """Bit for bit holds on one thread of a CPU."""
    monkeypatch.setattr(loop, "choose_device", lambda: CPU)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def conditioned():
    """Return a config and a dataset with a label and a position."""
    conditions = (LabelCondition(name="digit", values=("0", "1")), PositionCondition(harmonics=1))
    return make_config(conditions), make_dataset({"digit": "1"})
