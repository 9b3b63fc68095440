"""The interface of quantisers: vectors of real numbers to codes, and back.

A quantiser replaces a vector by one of a fixed number of vectors. That function is constant almost
everywhere, so its gradient is zero. The straight-through estimator uses the gradient of the
identity instead: the encoder is trained as if the quantiser had passed its vector on.

    forward:   q(z)              backward:   dq/dz = 1

Source: Bengio, Leonard and Courville 2013, section 2.3. Extended by `vector_quantizer` and
`finite_scalar_quantizer`. Called by `mel_autoencoder`.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Quantized(NamedTuple):
    """The result of a quantiser.

    Attributes:
        vectors: (..., D) float32, quantised, with the gradient of the straight-through estimator.
        codes: (...) int64, 0 to n_codes - 1.
        loss: (), to be added to the training loss.
    """

    vectors: Tensor
    codes: Tensor
    loss: Tensor


class Quantizer(nn.Module, ABC):
    """Base of the quantisers.

    Attributes:
        n_codes: number of codes.
        dimension: D, size of a vector.
    """

    n_codes: int
    dimension: int

    @abstractmethod
    def quantize(self, latents: Tensor) -> Quantized:
        """Quantise the outputs of the encoder.

        Args:
            latents: (..., D) float32.
        """

    @abstractmethod
    def vectors_of(self, codes: Tensor) -> Tensor:
        """Return the vectors (..., D) of codes (...), int64."""

    def observe(self, latents: Tensor, codes: Tensor, generator: torch.Generator) -> None:
        """Update what is estimated without a gradient, after a step of the training.

        Args:
            latents: (N, D) float32, outputs of the encoder.
            codes: (N,) int64, from `quantize`.
            generator: of random choices.
        """
        return None


def pass_gradient(values: Tensor, quantized: Tensor) -> Tensor:
    """Return the quantised values, with the gradient of `values` (straight-through estimator)."""
    return values + (quantized - values).detach()
