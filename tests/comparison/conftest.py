"""A small folder of labelled tones, a recipe for it, and members that train in a second."""

import pytest
import torch

from audio_utils import io
from tests.conftest import RATE, sine
from wavenet.comparison.members import Member
from wavenet.comparison.plan import Budget, Entry
from wavenet.comparison.source import read_source
from wavenet.training.recipe import load_recipe
from wavenet.training.training_setup import RecipeOptions, apply_options

RECIPE = f"""
name = "tones"
[audio]
sample_rate = {RATE}
[model]
residual_channels = 4
gate_channels = 4
skip_channels = 4
kernel_size = 2
dilations = [1]
[[model.conditions]]
kind = "label"
name = "note"
[data]
pattern = "{{note}}_{{take}}"
validation = {{ take = ["0"] }}
test = {{ take = ["1"] }}
[train]
steps = 1
"""
BUDGET = Budget("tiny", 2_000, 0.1)
SIZES = [
    {"residual_channels": w, "gate_channels": w, "skip_channels": w, "kernel_size": 2}
    | {"dilations": (1, 2)}
    for w in (2, 4, 8)
]
TINY = Member("wavenet", "WaveNet", "wavenet", SIZES, 2_000)


def write_tones(folder):
    """Write tones of two notes, four takes each, 0.1 s with some noise."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for note, frequency in (("low", 220.0), ("high", 880.0)):
        for take in range(4):
            noise = 0.05 * torch.randn(RATE // 10, generator=generator)
            waveform = 0.5 * sine(0.1, frequency) + noise
            io.write(folder / f"{note}_{take}.wav", waveform, RATE)


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """Return the folder of the tones and the file of the recipe."""
    folder = tmp_path_factory.mktemp("tones")
    write_tones(folder / "tones")
    recipe = folder / "tones.toml"
    recipe.write_text(RECIPE)
    return folder / "tones", recipe


@pytest.fixture(scope="session")
def source(tones):
    folder, recipe = tones
    options = RecipeOptions(data=str(folder))
    return read_source(apply_options(load_recipe(str(recipe)), options))


@pytest.fixture
def entry(tmp_path):
    return Entry(tmp_path / "out", BUDGET, TINY)
