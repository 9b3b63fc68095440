"""Models of guitarists beside the output of the reference renderer, if they are at hand."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from wavenet.effects.effect_builder import build_effect
from wavenet.effects.nam_file import format_nam, parse_nam, read_nam

NAM = Path(__file__).parents[3] / "shared" / "data" / "nam"
TOLERANCE = 1e-5  # of the reference
BLOCK_TOLERANCE = 1e-6  # between block sizes
NAMES = ("wavenet", "wavenet_a1_standard", "A2")


@pytest.fixture
def dry():
    if not NAM.is_dir():
        pytest.skip("the captures of ../shared/data/nam are missing")
    samples, rate = soundfile.read(NAM / "di_input.wav", dtype="float32")
    assert rate == 48000
    return torch.from_numpy(samples)[None, None]


@pytest.mark.parametrize("name", NAMES)
def test_the_output_is_that_of_the_reference_in_blocks_of_every_size(name, dry):
    expected, _ = soundfile.read(NAM / f"{name}.core.wav", dtype="float32")
    effect = build_effect(read_nam(NAM / f"{name}.nam"))
    with torch.no_grad():
        whole = effect(dry)[0, 0].numpy()
        assert np.abs(whole - expected).max() <= TOLERANCE
        for size, samples in ((1, 500), (64, 20_000), (480, 20_000), (4096, len(expected))):
            state, outputs = effect.initial_state(), []
            for block in dry[:, :, :samples].split(size, dim=2):
                output, state = effect.process(state, block)
                outputs.append(output)
            blocks = torch.cat(outputs, dim=2)[0, 0].numpy()
            assert np.abs(blocks - whole[:samples]).max() <= BLOCK_TOLERANCE, size


@pytest.mark.parametrize("name", NAMES)
def test_a_zero_state_is_not_that_of_the_reference(name, dry):
    expected, _ = soundfile.read(NAM / f"{name}.core.wav", dtype="float32")
    effect = build_effect(read_nam(NAM / f"{name}.nam"))
    with torch.no_grad():
        wrong, _ = effect.process(effect.zero_state(), dry[:, :, :9600])
    assert np.abs(wrong[0, 0].numpy() - expected[:9600]).max() > 10 * TOLERANCE


@pytest.mark.usefixtures("dry")
@pytest.mark.parametrize("name", NAMES)
def test_a_written_capture_is_read_and_written_alike(name):
    model = read_nam(NAM / f"{name}.nam")
    first = format_nam(model)
    again = parse_nam(first, "again")
    assert format_nam(again) == first
    assert again.metadata == model.metadata
    for part, other in zip((model, *model.parts), (again, *again.parts), strict=True):
        assert np.array_equal(part.weights, other.weights)
        assert part.shape == other.shape
