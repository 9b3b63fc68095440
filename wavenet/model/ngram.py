"""N-gram: tables of how often each code followed each context.

The context of a sample is the n codes before it, each reduced to its leading bits. A table has the
number of times that each code followed each context; one more table for each shorter context, down
to none. `smoothing` converts the counts to probabilities, so that no code has probability 0.

Labels are part of the longest context only. Its table also has rows without labels, so that a
context which is rare with its labels uses the counts of all labels, then those of shorter contexts.

A table needs one look-up per sample and is estimated in one pass. But its size grows exponentially
with the number of context bits, and similar contexts share nothing: the receptive field is 2 or 3
samples. A WaveNet has hundreds of samples for fewer numbers. Fewer bits for the older codes,
`context_bits = (8, 4)`, are a compromise. Called by `architectures`.

Sources: Shannon 1951, "Prediction and Entropy of Printed English"; Chen and Goodman 1999, "An
Empirical Study of Smoothing Techniques for Language Modeling".
"""

from itertools import accumulate
from typing import Annotated, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from wavenet.codec import MAX_MU_LAW_BITS
from wavenet.model.autoregressive_model import Fact
from wavenet.model.conditioning import Conditioning
from wavenet.model.label_rows import MAX_LABELS, LabelRows, count_rows
from wavenet.model.memory import Memory, TensorMemory
from wavenet.model.model_config import ModelConfig
from wavenet.model.smoothing import add_pseudo_counts, back_off, interpolate_counts
from wavenet.model.statistics_model import MAX_COUNT, StatisticsModel, check_inputs


class NGramConfig(ModelConfig):
    """Config of an n-gram.

    Attributes:
        context_bits: leading bits of each context code, the newest code first; a number above the
            bits of the codec keeps the whole code. () is a histogram, (8,) a bigram of 8-bit codes.
        smoothing: see `model.smoothing`.
        pseudo_count: added to each count, with the smoothing "laplace".
        discount: subtracted from each count, with the smoothing "backoff".
        weight: of the longer context, with the smoothing "interpolation"; None: Witten-Bell.
    """

    architecture: Literal["ngram"] = "ngram"
    context_bits: tuple[Annotated[int, Field(ge=1, le=MAX_MU_LAW_BITS)], ...] = Field(
        default=(8,), max_length=16
    )
    smoothing: Literal["laplace", "backoff", "interpolation"] = "interpolation"
    pseudo_count: float = Field(default=1.0, gt=0, le=1000)
    discount: float = Field(default=0.75, gt=0, lt=1)
    weight: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        check_inputs(self, "an n-gram", ("label",))
        if len(self.labels) > MAX_LABELS:
            raise ValueError(
                f"an n-gram accepts up to {MAX_LABELS} labels, found {len(self.labels)}; remove "
                "some of them from the model"
            )
        return self

    @property
    def uses_statistics(self) -> bool:
        """Yes: counts."""
        return True

    @property
    def receptive_field(self) -> int:
        """Number of context codes."""
        return len(self.context_bits)

    @property
    def bias_layers(self) -> int:
        """One: the row of the labels."""
        return 1

    @property
    def bias_width(self) -> int:
        """One number, the index of the row."""
        return 1

    @property
    def memory_values(self) -> int:
        """Context codes except the newest."""
        return max(0, self.receptive_field - 1)

    @property
    def network_parameters(self) -> int:
        """Counts of all tables, for a 10-bit codec."""
        *shorter, longest = (1 << bits for bits in accumulate(self.context_bits, initial=0))
        return (sum(shorter) + count_rows(self) * longest) * 1024

    @property
    def approximate_parameters(self) -> int:
        """Counts of all tables; there is no condition network."""
        return self.network_parameters


class NGram(StatisticsModel[NGramConfig]):
    """The tables of counts, one per context length from 0 to n.

    Hidden states are indices of table rows: of each context without labels, and last, if there are
    labels, of the longest context with them. The output is log-probabilities.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    def __init__(
        self, config: NGramConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        self._kept = [min(kept, bits) for kept in config.context_bits]
        self._shifts = [bits - kept for kept in self._kept]
        if config.labels:
            self.condition = LabelRows(config)
        for length, kept in enumerate(accumulate(self._kept, initial=0)):
            label_rows = count_rows(config) if length == len(self._kept) else 1
            shape = (label_rows << kept, self.n_classes)
            self.register_buffer(f"counts_{length}", torch.zeros(shape))

    @property
    def tables(self) -> list[Tensor]:
        """The counts by context length from 0, each (contexts, codes); in the last by label row."""
        return [self.get_buffer(f"counts_{n}") for n in range(len(self._kept) + 1)]

    @property
    def parameter_count(self) -> int:
        """Number of counts."""
        return sum(table.numel() for table in self.tables)

    @property
    def macs_per_sample(self) -> int:
        """One multiply-add per code and table that the smoothing reads."""
        tables = len(self.tables) + bool(self.config.labels)
        return self.n_classes * (1 if self.config.smoothing == "laplace" else tables)

    def hidden_states(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return the row of each table, (B, T, n + 1 or n + 2) int64."""
        rows = torch.zeros_like(conditioning.total_samples)
        if isinstance(self.condition, LabelRows):
            rows = self.condition.find_rows(conditioning.labels)
        return self._find_contexts(inputs, rows[:, None].expand_as(inputs), memory)

    def nll(
        self,
        codes: Tensor,
        mask: Tensor,
        start: Tensor | None,
        conditioning: Conditioning,
        input_codes: Tensor,
    ) -> Tensor:
        """Sum the negative log-likelihood; compute each distribution once.

        Many samples have the same context, and a sample needs one number of its distribution.
        """
        hidden = self.hidden_states(self.shifted_inputs(input_codes), conditioning, start)
        hidden = hidden[mask]
        # the row of the longest context determines the others
        different, position = hidden[:, -1].unique(return_inverse=True)
        sample = torch.arange(len(hidden), device=hidden.device)
        example = torch.empty_like(different).scatter_(0, position, sample)
        return -self.output_params(hidden[example])[position, codes[mask]].sum()

    def output_params(self, hidden: Tensor) -> Tensor:
        """Return log-probabilities (.., K) of the contexts (.., n + 1 or n + 2)."""
        config, contexts = self.config, hidden.unbind(-1)
        if config.smoothing == "laplace":
            return add_pseudo_counts(self.tables[-1][contexts[-1]], config.pseudo_count).log()
        tables = [table[rows] for table, rows in zip(self.tables, contexts, strict=False)]
        if config.labels:
            # the row of unknown labels is the one before it, which must not count twice
            is_same = (contexts[-1] == contexts[-2])[..., None]
            tables.append(self.tables[-1][contexts[-1]].masked_fill(is_same, 0))
        if config.smoothing == "backoff":
            return back_off(tables, config.discount).log()
        return interpolate_counts(tables, config.weight).log()

    def initial_memory(self, batch: int, device: torch.device | None = None) -> TensorMemory:
        """Return the start code for every code before the newest: (B, n - 1), the oldest first."""
        shape = (batch, self.config.memory_values)
        return TensorMemory([torch.full(shape, self.start_code, device=device or self.device)])

    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Read the counts of one context."""
        rows = torch.zeros_like(codes) if bias is None else bias[:, 0, 0].round().long()
        return self.output_params(self._find_contexts(codes[:, None], rows[:, None], memory)[:, 0])

    @torch.no_grad()
    def observe(
        self,
        codes: Tensor,
        mask: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        input_codes: Tensor | None = None,
    ) -> None:
        """Count the codes of a batch, in the rows of its labels and of unknown labels."""
        inputs = self.shifted_inputs(codes if input_codes is None else input_codes)
        rows = torch.zeros_like(codes[:, :1])
        if isinstance(self.condition, LabelRows):
            rows = self.condition.find_all_rows(conditioning.labels)
        for row in rows.unbind(1):
            chosen = mask & (row >= 0)[:, None]
            contexts = self._find_contexts(inputs, row[:, None].expand_as(inputs), None)[..., -1]
            add_counts(self.tables[-1], contexts[chosen], codes[chosen])
        shorter = self._find_contexts(inputs, torch.zeros_like(inputs), None)[mask].unbind(-1)
        for table, contexts in zip(self.tables[:-1], shorter, strict=False):
            add_counts(table, contexts, codes[mask])

    def network_facts(self) -> dict[str, Fact]:
        """Return the context and the smoothing."""
        return {"context_bits": list(self._kept), "smoothing": self.config.smoothing}

    def _find_contexts(self, inputs: Tensor, rows: Tensor, memory: Memory | None) -> Tensor:
        """Return the table rows (B, T, n + 1 or n + 2) of inputs and label rows, both (B, T)."""
        memory = memory or self.initial_memory(inputs.shape[0], inputs.device)
        (past,) = cast(TensorMemory, memory).tensors
        series, count = torch.cat([past, inputs], dim=1), inputs.shape[1]
        found = [torch.zeros_like(inputs)]
        for age, (kept, shift) in enumerate(zip(self._kept, self._shifts, strict=True)):
            begin = past.shape[1] - age
            reduced = series[:, begin : begin + count] >> shift
            found.append((found[-1] << kept) | reduced)
        past.copy_(series[:, series.shape[1] - past.shape[1] :])
        longest, bits = found.pop(), sum(self._kept)
        found.append(((count_rows(self.config) - 1) << bits) + longest)  # the row without labels
        if self.config.labels:
            found.append((rows << bits) + longest)
        return torch.stack(found, dim=-1)


def add_counts(table: Tensor, contexts: Tensor, codes: Tensor) -> None:
    """Count codes (N,) in the rows `contexts` (N,) of a table (rows, K), in place.

    A row that has MAX_COUNT samples is known well enough: it stays as it is, so that all counts are
    exact in float32.
    """
    rows, position, added = contexts.unique(return_inverse=True, return_counts=True)
    has_space = table[rows].sum(-1, dtype=torch.float64) + added <= MAX_COUNT
    counted = has_space[position]
    ones = torch.ones(codes.shape, device=table.device)[counted]
    table.index_put_((contexts[counted], codes[counted]), ones, accumulate=True)
