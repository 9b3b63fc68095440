"""`attention_layers`: positions, blocks, and what both architectures with attention share."""

import math

import pytest
import torch

from tests.conftest import tiny_model
from wavenet.config import make_config
from wavenet.errors import ConfigError
from wavenet.model.attention_layers import AttentionBlock, AttentionConfig, PositionEncoding
from wavenet.model.linear_attention import LinearAttentionConfig
from wavenet.model.transformer import TransformerConfig

SIZES = {"channels": 8, "heads": 2, "layers": 2, "feedforward_channels": 10}


def test_positions_are_sines_and_cosines():
    encode, positions = PositionEncoding(6), torch.tensor([0, 1, 100])
    found = encode(positions)
    # 2 pi * 10000 ** (n / 3), rounded
    angles = [2 * math.pi * positions.double() / n for n in (6, 135, 2916)]
    expected = [angle.sin() for angle in angles] + [angle.cos() for angle in angles]
    torch.testing.assert_close(found.double(), torch.stack(expected, dim=1), atol=1e-6, rtol=0)
    assert PositionEncoding(5)(positions).shape == (3, 5)


def test_positions_are_exact_in_a_long_clip():
    encode = PositionEncoding(16)
    wavelengths = torch.unique(encode.wavelengths)
    near = torch.arange(7)
    for wavelength in wavelengths.tolist():
        columns = (encode.wavelengths == wavelength).nonzero().flatten()
        far = near + wavelength * 1_000_000_007
        assert torch.equal(encode(far)[:, columns], encode(near)[:, columns])
    # negative control: angles in float32 without the modulo
    angles = 2 * math.pi / wavelengths[1] * (near + wavelengths[1] * 1_000_000_007).float()
    assert float((angles.sin() - encode(near)[:, 1]).abs().max()) > 0.1


def test_a_block_adds_to_its_input():
    """Pre-norm: without its last products, a block returns x itself."""
    torch.manual_seed(0)
    block, x = AttentionBlock(TransformerConfig(**SIZES)), torch.randn(2, 5, 8)
    attended = torch.randn(2, 5, 2, 4)
    assert not torch.allclose(block(x, attended), x)
    for layer in (block.merge, block.contract):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    assert torch.equal(block(x, attended), x)


@pytest.mark.parametrize("config_class", [TransformerConfig, LinearAttentionConfig])
def test_heads_divide_the_channels(config_class):
    with pytest.raises(ConfigError, match="found 8 channels and 3 heads; use 9 channels"):
        make_config(config_class, "model", **{**SIZES, "heads": 3})


@pytest.mark.parametrize(
    ("config", "is_clip"),
    [
        (TransformerConfig(**SIZES, context=20, sliding=False), True),
        (LinearAttentionConfig(**SIZES), True),
        (TransformerConfig(**SIZES, context=20), False),
    ],
)
def test_a_segment_of_unlimited_attention_is_a_clip_of_its_own(
    config: AttentionConfig, is_clip: bool
):
    """With a limited receptive field, positions count from the start of the recording."""
    model = tiny_model(config)
    inputs, conditioning = torch.arange(20)[None], model.conditioning([{}], [50])
    first = model.hidden_states(inputs, conditioning)
    later = model.hidden_states(inputs, conditioning, torch.tensor([30]))
    assert torch.equal(first, later) == is_clip
