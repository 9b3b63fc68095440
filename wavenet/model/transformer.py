"""Transformer: every sample reads the keys and values of the samples before it.

    y_t = sum over s of a_ts v_s         s: the positions t - context + 1 to t
    a_ts = exp(q_t . k_s / sqrt(D)) / sum over r of exp(q_t . k_r / sqrt(D))

q, k and v are vectors of D channels of one head; `attention_layers` describes the rest of a block.
A WaveNet reads the past at fixed distances, with fixed weights. Here the weights a_ts are computed
from the content, and a single block reaches every sample of its context.

Cost. Without a memory, sample t needs a forward pass over the t samples before it, with about
t**2 / 2 products q . k per head and block. But k_s and v_s never change, because a position reads
only itself and earlier ones. The memory stores them (the "KV cache"), so a sample costs at most
`context` such products. All samples of a recording are computed in parallel, as in a WaveNet. The
memory has 2 * layers * context * channels numbers; that of a WaveNet with the same receptive field
is smaller, because a convolution reads only a few samples of it.

Full attention (`sliding = false`): every sample reads all samples before it, and a clip of more
than `context` samples is refused. Sliding attention (`sliding = true`): each block reads its newest
`context` inputs, so clips have any length, and the receptive field is 1 + layers * (context - 1).
Both are the same computation; in a clip of full attention, the newest `context` inputs are all.
Positions beyond those of the training clips are no error in sliding attention: sines and cosines
stay in their range, but the model has not been trained on their combination.

Sources: Vaswani et al. 2017, "Attention Is All You Need"; sliding windows: Child et al. 2019,
"Generating Long Sequences with Sparse Transformers"; Beltagy et al. 2020, "Longformer".
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from wavenet.model.attention_layers import AttentionConfig, AttentionModel, Heads
from wavenet.model.autoregressive_model import Fact
from wavenet.model.memory import TensorMemory


class TransformerConfig(AttentionConfig):
    """Config of a transformer.

    Attributes:
        context: largest number of past samples that a block reads, the newest included.
        sliding: read the newest `context` samples of a clip of any length. False: refuse clips
            of more than `context` samples.
    """

    architecture: Literal["transformer"] = "transformer"
    context: int = Field(default=256, ge=1, le=65_536)
    sliding: bool = True

    @property
    def receptive_field(self) -> int | None:
        """1 + layers * (context - 1) with sliding attention.

        None with full attention: a clip is then read from its beginning, so a score carries the
        memory from window to window, and a training segment needs no context before it.
        """
        return 1 + self.layers * (self.context - 1) if self.sliding else None

    @property
    def window(self) -> int | None:
        """The context."""
        return self.context

    @property
    def longest_clip(self) -> int | None:
        """The context with full attention."""
        return None if self.sliding else self.context

    @property
    def clip_limit_advice(self) -> str:
        """Advice for a clip that is longer than the context."""
        return "that is its context: use shorter clips, or a model with sliding attention"

    @property
    def memory_values(self) -> int:
        """Numbers in the keys and values of one stream, and its position."""
        return 2 * self.layers * self.context * self.channels + 1


class Transformer(AttentionModel[TransformerConfig]):
    """The network: see `AttentionModel`."""

    def initial_memory(self, batch: int, device: torch.device | None = None) -> TensorMemory:
        """Return rings without keys and values.

        In a ring, slot t % context holds position t; the order of the slots has no effect on a sum.

        Returns:
            keys and values (B, layers, context, heads, head channels); positions (B,).
        """
        config, device = self.config, device or self.device
        shape = (batch, config.layers, config.context, config.heads, config.head_channels)
        rings = [torch.zeros(shape, device=device) for _ in range(2)]
        return TensorMemory([*rings, torch.zeros(batch, dtype=torch.int64, device=device)])

    @property
    def macs_per_sample(self) -> int:
        """Number of multiply-adds per sample, with a full context."""
        config = self.config
        return super().macs_per_sample + 2 * config.layers * config.context * config.channels

    def network_facts(self) -> dict[str, Fact]:
        """Return depth, widths and context."""
        kind = "sliding" if self.config.sliding else "full"
        return {**super().network_facts(), "attention": kind, "context": self.config.context}

    def _attend(
        self, layer: int, heads: Heads, first: Tensor, memory: TensorMemory | None
    ) -> Tensor:
        if memory is None:
            return attend_to_window(heads, self.config.context)
        keys, values, positions = memory.tensors
        past = _read_rings(keys[:, layer], values[:, layer], positions)
        attended = attend_to_window(heads, self.config.context, past)
        _write_rings(keys[:, layer], values[:, layer], first, heads)
        return attended

    def _weights(
        self, layer: int, heads: Heads, queries: int, memory: TensorMemory | None
    ) -> Tensor:
        return window_weights(heads, queries, self.config.context)

    def _attend_one(self, layer: int, heads: Heads, memory: TensorMemory) -> Tensor:
        keys, values, positions = memory.tensors
        keys, values = keys[:, layer], values[:, layer]
        _write_rings(keys, values, positions, heads)
        slots = torch.arange(keys.shape[1], device=keys.device)
        is_written = slots <= positions[:, None]
        return _softmax_attention(heads.queries, keys, values, is_written[:, None, None])


Past = tuple[Tensor, Tensor, Tensor]  # keys and values (B, W, heads, D), whether known (B, W)


def attend_to_window(heads: Heads, window: int, past: Past | None = None) -> Tensor:
    """Compute the attention of each position to the newest `window` ones: O(T * window).

    Args:
        heads: queries, keys and values (B, T, heads, D).
        window: number of positions read, the own one included.
        past: of the `window` positions before; None: there are none.
    Returns:
        (B, T, heads, D).
    """
    beginning = Heads(*(part[:, :window] for part in heads))
    if past is None:
        # a position below `window` reads all before it
        attended = _softmax_attention(*beginning)
    else:
        keys = torch.cat([past[0], beginning.keys], dim=1)
        values = torch.cat([past[1], beginning.values], dim=1)
        mask = _window_mask(beginning.queries.shape[1], window, window, keys.device)
        is_known = F.pad(past[2], (0, beginning.keys.shape[1]), value=True)
        mask = (mask & is_known[:, None])[:, None]
        attended = _softmax_attention(beginning.queries, keys, values, mask)
    if heads.queries.shape[1] <= window:
        return attended
    return torch.cat([attended, _attend_in_blocks(heads, window)], dim=1)


def window_weights(heads: Heads, count: int, window: int) -> Tensor:
    """Compute the weights a_ts of the newest positions t for all s, to show them.

    Args:
        heads: queries and keys (B, T, heads, D).
        count: number of positions t.
        window: as in `attend_to_window`.
    Returns:
        (B, heads, count, T).
    """
    queries, keys = heads.queries[:, -count:].transpose(1, 2), heads.keys.transpose(1, 2)
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(keys.shape[-1])
    mask = _window_mask(count, keys.shape[2] - count, window, keys.device)
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


def _attend_in_blocks(heads: Heads, window: int) -> Tensor:
    """Compute the attention of the positions from `window` on.

    A block of half a window reads itself and the two blocks before it, which contain all that it
    needs: 1.5 windows per position. Blocks of a whole window would read two windows per position,
    and smaller blocks copy more; on a CPU both are slower.
    """
    batch, samples = heads.queries.shape[:2]
    size = -(-window // 2)
    missing = -(samples - window) % size
    queries = F.pad(heads.queries[:, window:], (0, 0, 0, 0, 0, missing))
    queries = queries.unflatten(1, (-1, size)).flatten(0, 1)
    keys, values = (
        _with_two_before(F.pad(part, (0, 0, 0, 0, 2 * size - window, missing)), size)
        for part in (heads.keys, heads.values)
    )
    mask = _window_mask(size, 2 * size, window, keys.device)
    attended = _softmax_attention(queries, keys, values, mask)
    return attended.unflatten(0, (batch, -1)).flatten(1, 2)[:, : samples - window]


def _with_two_before(x: Tensor, size: int) -> Tensor:
    """Return blocks 2, 3, .. of x (B, T, ..), each after the two blocks before it.

    Returns:
        (B * (T / size - 2), 3 * size, ..).
    """
    blocks = x.unflatten(1, (-1, size))
    # torch.cat: the backward function of `unfold` is slow, and its layout prevents a fast kernel
    return torch.cat([blocks[:, :-2], blocks[:, 1:-1], blocks[:, 2:]], dim=2).flatten(0, 1)


def _softmax_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Compute y of the module docstring, (B, T, heads, D); without a mask, of equal lengths."""
    q, k, v = (part.transpose(1, 2) for part in (queries, keys, values))
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    return attended.transpose(1, 2)


def _window_mask(queries: int, past: int, window: int, device: torch.device) -> Tensor:
    """Return which of `past` earlier and the own positions are read: (queries, sum) bool."""
    query = torch.arange(past, past + queries, device=device)[:, None]
    key = torch.arange(past + queries, device=device)
    return (key <= query) & (key > query - window)


def _read_rings(keys: Tensor, values: Tensor, positions: Tensor) -> Past:
    """Return the rings (B, W, heads, D) in the order of time, and which entries are known."""
    window = keys.shape[1]
    times = positions[:, None] - window + torch.arange(window, device=keys.device)
    rows = torch.arange(len(positions), device=keys.device)[:, None]
    slots = times % window
    return keys[rows, slots], values[rows, slots], times >= 0


def _write_rings(keys: Tensor, values: Tensor, first: Tensor, heads: Heads) -> None:
    """Write the newest positions of a sequence that begins at position `first` (B,) or (1,)."""
    window, samples = keys.shape[1], heads.keys.shape[1]
    kept = min(window, samples)
    times = first[:, None] + torch.arange(samples - kept, samples, device=keys.device)
    rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
    keys[rows, times % window] = heads.keys[:, -kept:].detach().to(keys.dtype)
    values[rows, times % window] = heads.values[:, -kept:].detach().to(values.dtype)
