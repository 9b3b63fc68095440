"""Vector quantisation: the nearest vector of a learned codebook.

    k(z) = argmin_k |z - e_k|²,    q(z) = e_k(z)

The codebook is learned as the centres of k-means are, by exponential moving averages: N_k counts
how often code k is chosen, m_k sums the vectors that chose it,

    N_k <- g N_k + (1 - g) n_k,    m_k <- g m_k + (1 - g) Σ z,    e_k = m_k / N_k

The encoder is trained by the straight-through estimator and by the commitment loss
b |z - sg(e_k)|², which keeps its outputs near the codebook (sg: without gradient).

A code that is hardly chosen is dead: no vector moves it, so it stays unused for ever. Here it
starts again at a random vector of the batch. In the first step this initialises the codebook.

Sources: van den Oord, Vinyals and Kavukcuoglu 2017, section 3 and appendix A.1; dead codes:
Dhariwal et al. 2020 (Jukebox), section 3.1.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from wavenet.autoencoder.quantizer import Quantized, Quantizer, pass_gradient
from wavenet.config import Fraction, StrictConfig

DEAD_SHARE = 0.03  # of the mean count of a code, below which a code is dead
MAX_CODES = 512  # 9 bits: codes are stored as 16-bit samples, which cannot hold 10 bits of mu-law


class VectorQuantizerConfig(StrictConfig):
    """Settings of a vector quantiser.

    Attributes:
        kind: selects this class.
        n_codes: vectors in the codebook.
        dimension: size of a vector.
        decay: g, per step, of the moving averages.
        commitment: b, weight of the commitment loss.
    """

    kind: Literal["vector"] = "vector"
    n_codes: int = Field(default=256, ge=2, le=MAX_CODES)
    dimension: int = Field(default=8, ge=1, le=256)
    decay: Fraction = 0.99
    commitment: float = Field(default=0.25, ge=0, le=10)

    def build(self) -> "VectorQuantizer":
        """Build a quantiser with a random codebook."""
        return VectorQuantizer(self)


class VectorQuantizer(Quantizer):
    """A codebook with the averages from which it is computed."""

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, config: VectorQuantizerConfig):
        super().__init__()
        self.config, self.n_codes, self.dimension = config, config.n_codes, config.dimension
        shape = (self.n_codes, self.dimension)
        self.register_buffer("codebook", torch.randn(shape))
        self.register_buffer("counts", torch.zeros(self.n_codes))
        self.register_buffer("sums", torch.zeros(shape))

    def quantize(self, latents: Tensor) -> Quantized:
        """Return the nearest vectors, their codes, and the commitment loss."""
        # |z - e|² without |z|², which is equal for all codes
        distances = self.codebook.square().sum(dim=1) - 2 * latents @ self.codebook.T
        codes = distances.argmin(dim=-1)
        nearest = self.vectors_of(codes)
        loss = self.config.commitment * (latents - nearest).square().mean()
        return Quantized(pass_gradient(latents, nearest), codes, loss)

    def vectors_of(self, codes: Tensor) -> Tensor:
        """Return the vectors (..., D) of codes (...)."""
        return self.codebook[codes]

    @torch.no_grad()
    def observe(self, latents: Tensor, codes: Tensor, generator: torch.Generator) -> None:
        """Move the codebook to the means of the vectors, and start dead codes again."""
        weight = 1 - self.config.decay
        chosen = torch.nn.functional.one_hot(codes, self.n_codes).to(latents.dtype)
        self.counts.lerp_(chosen.sum(dim=0), weight)
        self.sums.lerp_(chosen.T @ latents, weight)
        mean_count = len(latents) / self.n_codes
        dead = self.counts < DEAD_SHARE * mean_count
        picks = torch.randint(len(latents), (int(dead.sum()),), generator=generator)
        self.counts[dead] = mean_count
        self.sums[dead] = latents[picks] * mean_count
        self.codebook.copy_(self.sums / self.counts[:, None])
