"""The autoencoder: mel frames to codes and back.

    frames (F, bands) -> encoder -> latents (F, G, D) -> quantiser -> codes (F * G,)
    codes -> vectors (F, G, D) -> decoder -> frames (F, bands)

Encoder and decoder are convolutions over the frames, with residual blocks. Each frame has G codes,
which follow each other in the sequence: with 50 frames per second, G = 1, 2 and 4 are 50, 100 and
200 codes per second. The frames are those of a vocoder, which makes sound from the result. Loss:
mean squared error of the frames, and that of the quantiser.

Source: van den Oord, Vinyals and Kavukcuoglu 2017 (VQ-VAE), with mel frames instead of samples.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator
from torch import Tensor, nn
from torch.nn.functional import gelu

from wavenet.autoencoder.finite_scalar_quantizer import FiniteScalarConfig
from wavenet.autoencoder.quantizer import Quantized, Quantizer
from wavenet.autoencoder.vector_quantizer import VectorQuantizerConfig
from wavenet.codec import MAX_MU_LAW_BITS, MIN_MU_LAW_BITS
from wavenet.config import Name, StrictConfig, Width, select_by
from wavenet.model.conditions import MelCondition
from wavenet.model.model_config import MAX_PARAMETERS

AnyQuantizerConfig = Annotated[
    Annotated[VectorQuantizerConfig, Tag("vector")]
    | Annotated[FiniteScalarConfig, Tag("finite-scalar")],
    select_by("kind", "vector", ("vector", "finite-scalar")),
]


class AutoencoderConfig(StrictConfig):
    """The content of `config.json` of an autoencoder.

    Attributes:
        format_version: of this file.
        kind: distinguishes it from the config of a model of samples.
        name: of the autoencoder.
        sample_rate: Hz, of the recordings.
        hop: samples from frame to frame.
        mel: settings of the frames, those of the vocoder.
        channels: of the convolutions.
        blocks: residual blocks of the encoder, and of the decoder.
        kernel_size: frames that a convolution reads; odd.
        codes_per_frame: G.
        quantizer: of the latents.
    """

    format_version: Literal[1] = 1
    kind: Literal["mel-autoencoder"] = "mel-autoencoder"
    name: Name
    sample_rate: int = Field(ge=4_000, le=192_000)
    hop: int = Field(ge=8, le=16_384)
    mel: MelCondition
    channels: Width = 64
    blocks: int = Field(default=3, ge=1, le=32)
    kernel_size: int = Field(default=5, ge=1, le=31)
    codes_per_frame: int = Field(default=2, ge=1, le=16)
    quantizer: AnyQuantizerConfig = VectorQuantizerConfig()

    @model_validator(mode="after")
    def _check_kernel(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, found {self.kernel_size}")
        return self

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        weights = 2 * self.blocks * self.channels**2 * (self.kernel_size + 1)
        if weights > MAX_PARAMETERS:
            raise ValueError(f"about {weights:,} parameters; the limit is {MAX_PARAMETERS:,}")
        return self

    @property
    def codes_per_second(self) -> float:
        """Codes of one second of sound."""
        return self.sample_rate / self.hop * self.codes_per_frame

    @property
    def bits(self) -> int:
        """Bits of the mu-law codec whose codes are those of the quantiser."""
        needed = math.ceil(math.log2(self.quantizer.n_codes))
        return min(MAX_MU_LAW_BITS, max(MIN_MU_LAW_BITS, needed))


class MelAutoencoder(nn.Module):
    """Encoder, quantiser and decoder."""

    quantizer: Quantizer

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config
        self.quantizer = config.quantizer.build()
        bands, latents = config.mel.n_mels, config.codes_per_frame * self.quantizer.dimension
        self.encoder = _make_stack(config, bands, latents)
        self.decoder = _make_stack(config, latents, bands)

    def encode(self, frames: Tensor) -> Tensor:
        """Return the codes of frames.

        Args:
            frames: (B, F, bands) float32, scaled as `frame_features` does.
        Returns:
            (B, F * G) int64, frame by frame.
        """
        return self.quantizer.quantize(self.latents(frames)).codes.flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the frames (B, F, bands) of codes (B, F * G)."""
        grouped = codes.unflatten(1, (-1, self.config.codes_per_frame))
        return self._decode_vectors(self.quantizer.vectors_of(grouped))

    def reconstruct(self, frames: Tensor) -> tuple[Tensor, Tensor, Quantized]:
        """Encode and decode frames, with gradients.

        Returns:
            the frames (B, F, bands) after encoding and decoding, the latents (B, F, G, D), and the
            result of the quantiser.
        """
        latents = self.latents(frames)
        quantized = self.quantizer.quantize(latents)
        return self._decode_vectors(quantized.vectors), latents, quantized

    def latents(self, frames: Tensor) -> Tensor:
        """Return the outputs of the encoder (B, F, G, D) for frames (B, F, bands)."""
        outputs: Tensor = self.encoder(frames.transpose(1, 2)).transpose(1, 2)
        grouped: Tensor = outputs.unflatten(
            -1, (self.config.codes_per_frame, self.quantizer.dimension)
        )
        return grouped

    def _decode_vectors(self, vectors: Tensor) -> Tensor:
        frames: Tensor = self.decoder(vectors.flatten(-2).transpose(1, 2)).transpose(1, 2)
        return frames


class FrameBlock(nn.Module):
    """A residual block over frames (B, channels, F): a convolution, then a layer per frame."""

    def __init__(self, channels: int, kernel_size: int):
        super().__init__()
        padding = kernel_size // 2
        # The last frame is repeated, as where the training cuts and pads recordings.
        self.convolution = nn.Conv1d(
            channels, channels, kernel_size, padding=padding, padding_mode="replicate"
        )
        self.projection = nn.Conv1d(channels, channels, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs (B, channels, F) plus the output of the block."""
        outputs: Tensor = self.projection(gelu(self.convolution(gelu(inputs))))
        return inputs + outputs


def _make_stack(config: AutoencoderConfig, inputs: int, outputs: int) -> nn.Sequential:
    """Build an encoder or a decoder."""
    blocks = [FrameBlock(config.channels, config.kernel_size) for _ in range(config.blocks)]
    first, last = nn.Conv1d(inputs, config.channels, 1), nn.Conv1d(config.channels, outputs, 1)
    return nn.Sequential(first, *blocks, last)
