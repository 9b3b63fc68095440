"""Codecs: the rule between a waveform and codes.

`encode` converts a waveform in [-1, 1] to codes 0 to n_classes - 1; `decode` converts them back. A
codec is a config class with these two methods; a checkpoint's `config.json` contains it as `codec`,
and the key `law` selects the class:

    law      class         bits     code of x                        x of a code
    mu-law   MuLawCodec    4 to 10  see `MuLawCodec`                 see `MuLawCodec`
    pcm16    Pcm16Codec    16       round(32768 x) + 32768, clamped  (code - 32768) / 32768
    linear   LinearCodec   16       floor((x + 1) / 2 * 65535 + 0.5) 2 code / 65535 - 1

`pcm16` is lossless: every 16-bit PCM value survives encode and decode. `linear`, of imported r9y9
models and older checkpoints, maps the PCM values 0 and 1 to one code. Called by everything that
handles audio.
"""

import math
from abc import abstractmethod
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, Tag, model_validator
from torch import Tensor

from audio_utils.pre_emphasis import apply_pre_emphasis, remove_pre_emphasis
from wavenet.config import StrictConfig, select_by

MAX_PRE_EMPHASIS = 0.97
MIN_MU_LAW_BITS = 4
MAX_MU_LAW_BITS = 10
PCM_SCALE = 1 << 15

# If codes are rounded down, a value up to this far below the edge of a class, in quantisation
# steps, counts as on the edge. A decoded waveform lies on the edges, up to the error of float32: at
# most 4e-5 of a step at 10 bits.
EDGE_TOLERANCE = 2e-4

Rounding = Literal["half-up", "down", "down-256"]


class Codec(StrictConfig):
    """Base of the codecs.

    Attributes:
        law: name of the rule.
        bits: n_classes = 2**bits.
        rounding: how a value becomes a code; "down-256" also changes mu and the decoder.
        silence_code: the code of silence, and the code before the first sample of every clip. It is
            the code of x = 0, except with the rounding "down-256".
        pre_emphasis: coefficient of the filter before quantisation; 0: no filter.
    """

    law: str
    bits: int
    rounding: Rounding
    silence_code: int
    pre_emphasis: float

    @property
    def n_classes(self) -> int:
        """Number of codes."""
        return 1 << self.bits

    @property
    def description(self) -> str:
        """The law, the bits, the rounding, and the pre-emphasis if there is any."""
        text = f"{self.law}, {self.bits} bits, rounded {self.rounding}"
        return f"{text}, pre-emphasis {self.pre_emphasis:g}" if self.pre_emphasis else text

    @property
    def levels(self) -> Tensor:
        """The quantised value of each code, (n_classes,) float32, without de-emphasis."""
        return self._decode(torch.arange(self.n_classes))

    def encode(self, waveform: Tensor, previous: Tensor | float = 0.0) -> Tensor:
        """Quantise a waveform to codes.

        Args:
            waveform: (..., T), in [-1, 1].
            previous: (...), the sample before the first one; used only with pre-emphasis.
        Returns:
            (..., T) int64, 0 to n_classes - 1.
        Raises:
            ValueError: a sample outside [-1, 1], or not finite.
        """
        if waveform.numel() and not bool((waveform.abs() <= 1).all()):
            peak = waveform.abs().max().item()
            raise ValueError(f"a waveform must lie in [-1, 1], found {peak:g}; scale it first")
        if self.pre_emphasis:
            waveform = apply_pre_emphasis(waveform, self.pre_emphasis, previous)
        return self._encode(waveform)

    def decode(self, codes: Tensor, previous: Tensor | float = 0.0) -> Tensor:
        """Return the waveform values of codes.

        Args:
            codes: (..., T) integers, 0 to n_classes - 1.
            previous: (...), the decoded sample before the first one; used only with pre-emphasis.
        Returns:
            (..., T) float32 in [-1, 1].
        Raises:
            ValueError: a code out of range.
        """
        largest = self.n_classes - 1
        if codes.numel() and not bool(((codes >= 0) & (codes <= largest)).all()):
            found = f"{codes.min()} to {codes.max()}"
            raise ValueError(f"codes must lie in 0 to {largest}, found {found}")
        values = self._decode(codes)
        if self.pre_emphasis:
            values = remove_pre_emphasis(values, self.pre_emphasis, previous)
        return values

    @abstractmethod
    def _encode(self, waveform: Tensor) -> Tensor: ...

    @abstractmethod
    def _decode(self, codes: Tensor) -> Tensor: ...


class MuLawCodec(Codec):
    """Mu-law companding, f(x) = sign(x) ln(1 + mu |x|) / ln(1 + mu), with n = 2**bits:

    rounding    mu     code                         decoded f           silence code
    half-up     n - 1  floor((f + 1) / 2 mu + 0.5)  2 code / mu - 1     n / 2
    down        n - 1  floor((f + 1) / 2 mu)        2 code / mu - 1     n / 2 - 1
    down-256    256    floor((f + 1) / 2 * 255)     2 code / 256 - 1    128; 8 bits only

    This project trains with "half-up". The other two are the conventions of two programs whose
    models can be imported. "down" decodes to the lower edge of a class, so a tiny change of a
    decoded value may change its code. "down-256" is not invertible: encoding a decoded waveform
    yields codes one lower, and x = 0 has code 127, not the silence code.

    With `pre_emphasis` p > 0, the values x_t - p x_(t-1) are quantised, and the decoder inverts the
    filter. Its noise then has the spectrum of the inverse filter, weak where speech is weak. At
    16 kHz this is worth about one bit for speech.

    Source: van den Oord et al. 2016, section 2.2; ITU-T G.711; for pre-emphasis Valin and Skoglund
    2019, "LPCNet", section 3.4.
    """

    law: Literal["mu-law"] = "mu-law"
    bits: int = Field(default=8, ge=MIN_MU_LAW_BITS, le=MAX_MU_LAW_BITS)
    rounding: Rounding = "half-up"
    silence_code: int = Field(
        default_factory=lambda given: mu_law_silence_code(
            given.get("bits", 8), given.get("rounding", "half-up")
        )
    )
    pre_emphasis: float = Field(default=0.0, ge=0, le=MAX_PRE_EMPHASIS)

    @model_validator(mode="after")
    def _check_convention(self) -> Self:
        if self.rounding == "down-256" and self.bits != 8:
            raise ValueError(f"the rounding 'down-256' needs 8 bits, found {self.bits}")
        silence = mu_law_silence_code(self.bits, self.rounding)
        if self.silence_code != silence:
            raise ValueError(
                f"silence_code must be {silence} for {self.bits} bits with rounding "
                f"{self.rounding!r}, found {self.silence_code}"
            )
        return self

    @property
    def mu(self) -> int:
        """Strength of the companding."""
        return self.n_classes - 1 + (self.rounding == "down-256")

    def _encode(self, waveform: Tensor) -> Tensor:
        # in float64 if the edge of a class is a value that `decode` returns
        x = waveform.to(torch.float32 if self.rounding == "half-up" else torch.float64)
        companded = x.sign() * torch.log1p(self.mu * x.abs()) / math.log1p(self.mu)
        offset = 0.5 if self.rounding == "half-up" else EDGE_TOLERANCE
        return ((companded + 1) / 2 * (self.n_classes - 1) + offset).to(torch.int64)

    def _decode(self, codes: Tensor) -> Tensor:
        companded = codes.to(torch.float32) * 2 / self.mu - 1
        return companded.sign() * torch.expm1(companded.abs() * math.log1p(self.mu)) / self.mu


class Pcm16Codec(Codec):
    """16-bit PCM, code = PCM + 32768: every PCM value survives encode and decode.

    Samples of +1 become 32767 / 32768, the largest value of 16-bit PCM.
    """

    law: Literal["pcm16"] = "pcm16"
    bits: Literal[16] = 16
    rounding: Literal["half-up"] = "half-up"
    silence_code: Literal[32768] = 32768
    pre_emphasis: Literal[0] = 0

    def _encode(self, waveform: Tensor) -> Tensor:
        # in float64: 0.5 added to a large float32 may round up
        scaled = torch.floor(waveform.to(torch.float64) * PCM_SCALE + 0.5)
        return scaled.clamp(max=PCM_SCALE - 1).to(torch.int64) + PCM_SCALE

    def _decode(self, codes: Tensor) -> Tensor:
        return (codes - PCM_SCALE).to(torch.float32) / PCM_SCALE


class LinearCodec(Codec):
    """16 bits on a symmetric grid from -1 to 1, for imported r9y9 models and older checkpoints."""

    law: Literal["linear"] = "linear"
    bits: Literal[16] = 16
    rounding: Literal["half-up"] = "half-up"
    silence_code: Literal[32768] = 32768
    pre_emphasis: Literal[0] = 0

    def _encode(self, waveform: Tensor) -> Tensor:
        # in float64: in float32, some of the 65,536 classes collide
        return ((waveform.to(torch.float64) + 1) / 2 * (self.n_classes - 1) + 0.5).to(torch.int64)

    def _decode(self, codes: Tensor) -> Tensor:
        return (codes.to(torch.float64) * 2 / (self.n_classes - 1) - 1).to(torch.float32)


def mu_law_silence_code(bits: int, rounding: Rounding = "half-up") -> int:
    """Return the silence code: the code of x = 0, except with the rounding "down-256"."""
    return (1 << (bits - 1)) - (rounding == "down")


# type of a codec in a file or another config: any of the classes, selected by its law
AnyCodec = Annotated[
    Annotated[MuLawCodec, Tag("mu-law")]
    | Annotated[Pcm16Codec, Tag("pcm16")]
    | Annotated[LinearCodec, Tag("linear")],
    select_by("law", "mu-law", ("mu-law", "pcm16", "linear")),
]
