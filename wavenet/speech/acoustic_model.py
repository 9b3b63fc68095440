"""The acoustic model: tokens of a sentence to the log-mel frames of its sound, all in parallel.

    tokens (N) -> encoder -> hidden (N, C) -> duration, F0 and energy of each token
    hidden + F0 + energy -> repeated for the frames of each token -> decoder -> frames (T, bands)

The encoder has convolutions over neighbouring tokens and attention over the whole sentence. In
training, durations, F0 and energy are those of the recording; in synthesis they are predicted,
and a user may change them before the decoder reads them. Every value is a regression, so the model
draws no samples: all variety comes from the WaveNet that makes sound of the frames.

A regression predicts a mean, so its frames are smoother than those of recordings.

Source: Ren et al. 2021, "FastSpeech 2"; Lancucki 2021, "FastPitch" (one F0 per token); Liu et al.
2022, "A ConvNet for the 2020s" (the blocks); Siuzdak 2024, "Vocos" (such blocks over mel frames).
"""

import math
from typing import Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import gelu

from wavenet.config import Name, StrictConfig, Width
from wavenet.model.conditions import MelCondition
from wavenet.speech.tokens import N_FLAGS, N_STRESSES, SYMBOLS

N_PROSODY = 3  # log duration, F0, energy


class AcousticSizes(StrictConfig):
    """The sizes of the network, and its dropout.

    Attributes:
        channels: of all layers, C.
        encoder_blocks, decoder_blocks: convolutional blocks.
        attention_layers: over the tokens.
        heads: of an attention layer.
        kernel_size: of the blocks; odd.
        expansion: inner channels of a block, as a multiple of `channels`.
        dropout: fraction of channels that are dropped in training.
    """

    channels: Width = 160
    encoder_blocks: int = Field(default=4, ge=1, le=32)
    decoder_blocks: int = Field(default=6, ge=1, le=32)
    attention_layers: int = Field(default=2, ge=0, le=16)
    heads: int = Field(default=2, ge=1, le=16)
    kernel_size: int = Field(default=7, ge=1, le=31)
    expansion: int = Field(default=3, ge=1, le=8)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.attention_layers and self.channels % self.heads:
            raise ValueError(
                f"channels must be a multiple of heads, found {self.channels} channels and "
                f"{self.heads} heads"
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, found {self.kernel_size}")
        return self


class AcousticConfig(AcousticSizes):
    """The content of `config.json` of a voice.

    Attributes:
        format_version: of this file.
        kind: distinguishes it from the config of a model of samples.
        name: of the model.
        sample_rate: Hz, of the recordings.
        hop: samples from frame to frame.
        mel: settings of the frames, those of the vocoder.
        speakers: names of the speakers; the first is the default.
        f0_mean, f0_deviation: of log F0 (Hz) of the voiced phones of each speaker.
    """

    format_version: Literal[1] = 1
    kind: Literal["voice"] = "voice"
    name: Name
    sample_rate: int = Field(ge=4_000, le=192_000)
    hop: int = Field(ge=8, le=16_384)
    mel: MelCondition
    speakers: tuple[Name, ...] = Field(min_length=1, max_length=1024)
    f0_mean: tuple[float, ...] = (5.0,)
    f0_deviation: tuple[float, ...] = (0.2,)

    @property
    def frames_per_second(self) -> float:
        """Frames of one second of sound."""
        return self.sample_rate / self.hop


class Prosody(NamedTuple):
    """What is spoken how, per token.

    Attributes:
        log_duration: (B, N) natural logarithm of the number of frames + 1.
        f0: (B, N) log F0, in standard deviations of the speaker above the mean.
        energy: (B, N) mean of the scaled mel frames.
    """

    log_duration: Tensor
    f0: Tensor
    energy: Tensor


class ConvolutionBlock(nn.Module):
    """x + pointwise(gelu(pointwise(norm(depthwise convolution of x)))), over (B, T, C)."""

    def __init__(self, channels: int, kernel_size: int, expansion: int, dropout: float):
        super().__init__()
        self.depthwise = nn.Conv1d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels
        )
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, expansion * channels)
        self.narrow = nn.Linear(expansion * channels, channels)
        self.dropout = nn.Dropout(dropout)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (B, T, C); positions outside `mask` (B, T, 1) count as zeros."""
        y = self.depthwise((x * mask).transpose(1, 2)).transpose(1, 2)
        y = self.narrow(gelu(self.widen(self.norm(y))))
        result: Tensor = x + self.scale * self.dropout(y)
        return result


class ProsodyPredictor(nn.Module):
    """Predict log duration, F0 and energy of each token from hidden values (B, N, C)."""

    def __init__(self, config: AcousticConfig):
        super().__init__()
        self.blocks = nn.ModuleList(
            ConvolutionBlock(config.channels, 3, 2, 0.3 if config.dropout else 0.0)
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(config.channels)
        self.output = nn.Linear(config.channels, N_PROSODY)

    def forward(self, hidden: Tensor, mask: Tensor) -> Prosody:
        """Return the prosody of each token; zeros outside `mask` (B, N, 1)."""
        for block in self.blocks:
            hidden = block(hidden, mask)
        return Prosody(*(self.output(self.norm(hidden)) * mask).unbind(-1))


class AcousticModel(nn.Module):
    """See the module.

    Args:
        config: its sizes and settings.
    """

    def __init__(self, config: AcousticConfig):
        super().__init__()
        self.config = config
        size = config.channels
        self.symbols = nn.Embedding(len(SYMBOLS), size)
        self.stresses = nn.Embedding(N_STRESSES, size)
        self.flags = nn.Linear(N_FLAGS, size, bias=False)
        self.speakers = nn.Embedding(len(config.speakers), size)
        block = (size, config.kernel_size, config.expansion, config.dropout)
        self.encoder = nn.ModuleList(ConvolutionBlock(*block) for _ in range(config.encoder_blocks))
        self.attention = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size, config.heads, 2 * size, config.dropout, "gelu", 1e-5, True, True
            )
            for _ in range(config.attention_layers)
        )
        self.predictor = ProsodyPredictor(config)
        self.prosody = nn.Conv1d(2, size, 3, padding=1)
        self.places = nn.Linear(3, size)
        self.decoder = nn.ModuleList(ConvolutionBlock(*block) for _ in range(config.decoder_blocks))
        self.norm = nn.LayerNorm(size)
        self.output = nn.Linear(size, config.mel.n_mels)

    def encode(self, tokens: Tensor, speakers: Tensor, counts: Tensor) -> Tensor:
        """Return hidden values (B, N, C) of tokens.

        Args:
            tokens: (B, N, 4), from `encode_tokens`, padded.
            speakers: (B,) indices.
            counts: (B,) tokens of each sentence.
        """
        mask = length_mask(counts, tokens.shape[1])
        x = self.symbols(tokens[..., 0]) + self.stresses(tokens[..., 1])
        x = x + self.flags(tokens[..., 2:].to(x.dtype)) + self.speakers(speakers)[:, None]
        for block in self.encoder:
            x = block(x, mask)
        x = x + sinusoids(x.shape[1], x.shape[2]).to(x)
        for layer in self.attention:
            x = layer(x, src_key_padding_mask=~mask[..., 0])
        hidden: Tensor = x * mask
        return hidden

    def predict_prosody(self, hidden: Tensor, counts: Tensor) -> Prosody:
        """Return the predicted prosody; zeros outside the sentences.

        Args:
            hidden: (B, N, C) of `encode`; counts: (B,).
        """
        prosody: Prosody = self.predictor(hidden, length_mask(counts, hidden.shape[1]))
        return prosody

    def decode(self, hidden: Tensor, f0: Tensor, energy: Tensor, durations: Tensor) -> Tensor:
        """Return frames (B, T, bands), scaled as `model.frame_scales`.

        Args:
            hidden: (B, N, C) of `encode`.
            f0, energy: (B, N), as in `Prosody`; zeros outside the sentence.
            durations: (B, N) int64 frames of each token, 0 outside the sentence.
        """
        x = hidden + self.prosody(torch.stack([f0, energy], 1)).transpose(1, 2)
        x, places = repeat_tokens(x, durations)
        mask = length_mask(durations.sum(1), x.shape[1])
        x = x + self.places(places)
        for block in self.decoder:
            x = block(x, mask)
        frames: Tensor = self.output(self.norm(x)) * mask
        return frames


def length_mask(counts: Tensor, longest: int) -> Tensor:
    """Return (B, longest, 1) bool: True at the first `counts` (B,) positions of each row."""
    positions = torch.arange(longest, device=counts.device)
    return (positions < counts[:, None])[..., None]


def sinusoids(count: int, channels: int) -> Tensor:
    """Return position codes (count, channels) (Vaswani et al. 2017, section 3.5)."""
    positions = torch.arange(count)[:, None].float()
    rates = torch.exp(-math.log(10_000) * torch.arange(0, channels, 2) / channels)
    codes = torch.zeros(count, channels)
    codes[:, 0::2] = torch.sin(positions * rates)
    codes[:, 1::2] = torch.cos(positions * rates)[:, : channels // 2]
    return codes


def repeat_tokens(values: Tensor, durations: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat each token for its frames.

    Args:
        values: (B, N, C).
        durations: (B, N) int64 frames.
    Returns:
        (B, T, C), T frames of the longest row, zeros after shorter ones; (B, T, 3): for each frame
        the place in its token from 0 to 1, the place from the end, and the token's log duration.
    """
    totals = durations.sum(1)
    longest = int(totals.max())
    ends = durations.cumsum(1)
    frames = torch.arange(longest, device=values.device).expand(len(values), -1).contiguous()
    index = torch.searchsorted(ends, frames, right=True).clamp(max=values.shape[1] - 1)
    repeated = values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
    length = durations.gather(1, index).clamp(min=1)
    before = frames - (ends - durations).gather(1, index)
    place = (before + 0.5) / length
    places = torch.stack([place, 1 - place, length.to(values.dtype).log() / 3], -1)
    mask = length_mask(totals, longest)
    return repeated * mask, places.to(values.dtype) * mask
