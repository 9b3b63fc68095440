"""Linear attention: a transformer whose memory is one matrix per head.

    y_t = sum over s <= t of f(q_t) . f(k_s) v_s / sum over s <= t of f(q_t) . f(k_s)
    f(x) = elu(x) + 1, for each channel: 1 + x above 0, exp(x) below

In a transformer the weight of sample s is exp(q_t . k_s / sqrt(D)), so all k_s must be kept. Here
it is a product of f(q_t) and f(k_s), and f(q_t) can be taken out of the sums:

    S_t = S_(t-1) + f(k_t) v_t^T        z_t = z_(t-1) + f(k_t)
    y_t = f(q_t) S_t / (f(q_t) . z_t)

So the network is also a recurrent network, with the memory S, z of fixed size: the receptive field
is unlimited, and a sample costs the same early and late in a clip. Unlike the state of a GRU, S and
z are plain sums, so all samples of a recording are computed in parallel. This is done in chunks:
the first formula with a mask within a chunk, S and z for the chunks before it; O(T) together.

The costs: y is a mean over the whole past with weights that are less selective than a softmax. The
sums never forget, so a new sample has little weight late in a long clip. A WaveNet reads the newest
samples exactly, but none beyond its receptive field, and its memory is larger.

Position enters as in the transformer: sines and cosines are added to the embedding, because the
sums do not depend on the order of the samples. The positions of a training segment begin at 0, so
a model is not trained on positions beyond the longest segment. Numbers stay finite in a clip of any
length: z grows to about D times the number of samples, and y is a quotient of two sums.

Source: Katharopoulos et al. 2020, "Transformers are RNNs: Fast Autoregressive Transformers with
Linear Attention".
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.model.attention_layers import AttentionConfig, AttentionModel, Heads
from wavenet.model.memory import TensorMemory

CHUNK = 32  # positions per chunk; of 16 to 128 the fastest on a CPU, with 16 channels per head
# Added to the divisor, which is 0 if all f(q) or all f(k) underflow.
EPSILON = 1e-12


class LinearAttentionConfig(AttentionConfig):
    """Config of a network with linear attention."""

    architecture: Literal["linear-attention"] = "linear-attention"

    @property
    def memory_values(self) -> int:
        """Numbers in S and z of all heads of one stream, and its position."""
        return self.layers * self.channels * (self.head_channels + 1) + 1


class LinearAttention(AttentionModel[LinearAttentionConfig]):
    """The network: see `AttentionModel`."""

    def initial_memory(self, batch: int, device: torch.device | None = None) -> TensorMemory:
        """Return S = 0 and z = 0.

        Returns:
            sums (B, layers, heads, D, D + 1), z in the last column; positions (B,).
        """
        config, device = self.config, device or self.device
        width = config.head_channels
        shape = (batch, config.layers, config.heads, width, width + 1)
        positions = torch.zeros(batch, dtype=torch.int64, device=device)
        return TensorMemory([torch.zeros(shape, device=device), positions])

    @property
    def macs_per_sample(self) -> int:
        """Number of multiply-adds per sample: each number of the sums is changed and read."""
        return super().macs_per_sample + 2 * (self.config.memory_values - 1)

    def _attend(
        self, layer: int, heads: Heads, first: Tensor, memory: TensorMemory | None
    ) -> Tensor:
        # long sums need float32, also in a training in bf16
        with torch.autocast(heads.queries.device.type, enabled=False):
            # a copy, because the memory is overwritten before the backward pass
            before = None if memory is None else memory.tensors[0][:, layer].clone()
            attended, sums = attend_in_chunks(heads, before)
        if memory is not None:
            memory.tensors[0][:, layer] = sums.detach()
        return attended.to(heads.values.dtype)

    def _weights(
        self, layer: int, heads: Heads, queries: int, memory: TensorMemory | None
    ) -> Tensor:
        before = None if memory is None else memory.tensors[0][:, layer]
        return linear_weights(heads, queries, before)

    def _attend_one(self, layer: int, heads: Heads, memory: TensorMemory) -> Tensor:
        query, key, value = (part[:, 0] for part in _mapped(heads))
        sums = memory.tensors[0][:, layer]
        sums.add_(key[..., None] * value[..., None, :])
        return _divide(query[..., None, :] @ sums).transpose(1, 2)


def attend_in_chunks(heads: Heads, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute the attention of each position to all earlier ones and itself.

    Args:
        heads: queries, keys and values (B, T, heads, D).
        before: (B, heads, D, D + 1), the sums S and z of the past; None: there is no past.
    Returns:
        (B, T, heads, D), and the sums after the sequence.
    """
    batch, samples, _, width = heads.queries.shape
    missing = -samples % CHUNK
    # (B, chunks, heads, CHUNK, D); f(k) = 0 in the padding, so it adds nothing to the sums
    queries, keys, values = (
        F.pad(part, (0, 0, 0, 0, 0, missing)).unflatten(1, (-1, CHUNK)).transpose(2, 3)
        for part in _mapped(heads)
    )
    own = keys.transpose(-1, -2) @ values
    if before is None:
        before = own.new_zeros(batch, own.shape[2], width, width + 1)
    sums = torch.cat([before[:, None].float(), own], dim=1).cumsum(dim=1)
    inside = (queries @ keys.transpose(-1, -2)).tril() @ values
    attended = _divide(inside + queries @ sums[:, :-1])
    return attended.transpose(2, 3).flatten(1, 2)[:, :samples], sums[:, -1]


def linear_weights(heads: Heads, count: int, before: Tensor | None) -> Tensor:
    """Compute the weights of the first formula, of the newest positions t for all s.

    The network itself never computes them: it needs their sums only.

    Args:
        heads: queries, keys and values (B, T, heads, D).
        count: number of positions t.
        before: as in `attend_in_chunks`; its z is a part of the divisor.
    Returns:
        (B, heads, count, T).
    """
    mapped = _mapped(heads)
    queries, keys = mapped.queries[:, -count:].transpose(1, 2), mapped.keys.transpose(1, 2)
    products = (queries @ keys.transpose(-1, -2)).tril(keys.shape[2] - count)
    divisor = products.sum(dim=-1, keepdim=True) + EPSILON
    if before is not None:
        divisor = divisor + queries @ before[..., -1:].float()
    return products / divisor


def _mapped(heads: Heads) -> Heads:
    """Return f(q), f(k), and v with a 1 at its end, by which the sums of v contain z."""
    queries, keys, values = (part.float() for part in heads)
    return Heads(_positive(queries), _positive(keys), F.pad(values, (0, 1), value=1.0))


def _positive(x: Tensor) -> Tensor:
    """Return f(x); elu(x) + 1 itself would be rounded to 0 for x below -17."""
    return x.clamp(max=0).exp() + x.relu()


def _divide(weighted: Tensor) -> Tensor:
    """Return y from the weighted sum of values and ones, (.., D + 1)."""
    return weighted[..., :-1] / (weighted[..., -1:] + EPSILON)
