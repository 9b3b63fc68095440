"""Finite scalar quantisation: each number of a short vector is rounded to one of a few levels.

    u_i = L_i (tanh z_i + 1) / 2 - 1/2,    d_i = round(u_i) in 0 .. L_i - 1

The levels of number i are equally wide in u. The code is the number with the digits d_i:

    code = d_1 + L_1 d_2 + L_1 L_2 d_3 + ..

Nothing is learned: the codebook is a fixed grid, so there is no commitment loss, no moving average
and no dead code to restart. The encoder learns to use the grid. The price: the grid is less free
than a learned codebook of the same size, which shows with few codes.

Source: Mentzer et al. 2023, section 3. There the outer levels have half the width; here all levels
are equally wide.
"""

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from wavenet.autoencoder.quantizer import Quantized, Quantizer, pass_gradient
from wavenet.autoencoder.vector_quantizer import MAX_CODES
from wavenet.config import StrictConfig

Levels = Annotated[int, Field(ge=2, le=64)]


class FiniteScalarConfig(StrictConfig):
    """Settings of a finite scalar quantiser.

    Attributes:
        kind: selects this class.
        levels: of each number of a vector.
    """

    kind: Literal["finite-scalar"] = "finite-scalar"
    levels: tuple[Levels, ...] = Field(default=(8, 6, 5), min_length=1, max_length=10)

    @model_validator(mode="after")
    def _check_codes(self) -> Self:
        if self.n_codes > MAX_CODES:
            raise ValueError(
                f"the product of the levels is {self.n_codes:,} codes, expected at most {MAX_CODES}"
            )
        return self

    @property
    def n_codes(self) -> int:
        """Number of codes."""
        return math.prod(self.levels)

    @property
    def dimension(self) -> int:
        """Size of a vector."""
        return len(self.levels)

    def build(self) -> "FiniteScalarQuantizer":
        """Build the quantiser."""
        return FiniteScalarQuantizer(self)


class FiniteScalarQuantizer(Quantizer):
    """A grid of levels; quantised vectors lie in -1 to 1."""

    def __init__(self, config: FiniteScalarConfig):
        super().__init__()
        self.config, self.n_codes, self.dimension = config, config.n_codes, config.dimension

    def quantize(self, latents: Tensor) -> Quantized:
        """Return the rounded vectors and their codes; the loss is 0."""
        levels = self._levels(latents.device)
        positions = levels * (latents.tanh() + 1) / 2 - 0.5
        digits = positions.round().clamp(min=torch.zeros_like(levels), max=levels - 1)
        codes = (digits.detach().to(torch.int64) * self._place_values(latents.device)).sum(dim=-1)
        vectors = self._to_vectors(pass_gradient(positions, digits), levels)
        return Quantized(vectors, codes, latents.new_zeros(()))

    def vectors_of(self, codes: Tensor) -> Tensor:
        """Return the vectors (..., D) of codes (...), each number in -1 to 1."""
        levels, places = self._levels(codes.device), self._place_values(codes.device)
        digits = codes[..., None] // places % levels
        return self._to_vectors(digits.to(torch.float32), levels)

    def _to_vectors(self, digits: Tensor, levels: Tensor) -> Tensor:
        return 2 * digits / (levels - 1) - 1

    def _levels(self, device: torch.device) -> Tensor:
        return torch.tensor(self.config.levels, device=device)

    def _place_values(self, device: torch.device) -> Tensor:
        """Return the value of a digit 1 of each number (D,)."""
        places = [math.prod(self.config.levels[:n]) for n in range(self.dimension)]
        return torch.tensor(places, device=device)
