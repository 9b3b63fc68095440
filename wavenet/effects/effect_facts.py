"""Facts about a model of an effect: sizes, cost, receptive field, and what its maker wrote.

Input: a `NamModel`. Output: an `EffectFacts`; the processor load is measured on this machine.
Called by `wavenet effects info` and the studio.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wavenet.effects.effect_engine import EffectEngine, LoopEngine, load_engine
from wavenet.effects.effect_shapes import FeedForwardShape, SizeChoiceShape
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import weight_specs

UNKNOWN_LICENCE = (
    "A capture belongs to its maker: the file does not say its licence, so look where you got it "
    "before you publish or sell it, or sound that was made with it."
)
LOAD_BLOCK = 64  # samples of the blocks whose time is measured
_BLOCKS_PER_RUN, _RUNS = 150, 5


@dataclass(frozen=True)
class EffectFacts:
    """Facts about a model at one size.

    Attributes:
        architecture, version: of the file.
        sizes: of a container of sizes, otherwise 1.
        sample_rate: Hz.
        is_rate_known: whether the file says it.
        weights: of all parts in the file.
        receptive_field: samples; None if unlimited.
        receptive_field_ms: the same in ms.
        multiply_adds: per sample, of the chosen size.
        processor_load: part of real time on one core of this machine, in blocks of `LOAD_BLOCK`
            samples; None if it was not measured.
        engine: compiled or torch.
        offset: output at silence; None if it was not measured.
        metadata: of the file.
        licence: a sentence about it.
    """

    architecture: str
    version: str
    sizes: int
    sample_rate: float
    is_rate_known: bool
    weights: int
    receptive_field: int | None
    receptive_field_ms: float | None
    multiply_adds: int
    processor_load: float | None
    engine: str | None
    offset: float | None
    metadata: Mapping[str, Any]
    licence: str

    def as_json(self) -> dict[str, Any]:
        """Return a JSON document."""
        return asdict(self)


def describe_effect(
    model: NamModel,
    size: float | None = None,
    measures_load: bool = True,
    licence: str | None = None,
) -> EffectFacts:
    """Return the facts of a model.

    Args:
        model: without knobs.
        size: of a container of sizes, from 0 to 1; None for the largest.
        measures_load: run the model for some tenths of a second.
        licence: of its card; None if it has none.
    """
    chosen = model
    while isinstance(chosen.shape, SizeChoiceShape):
        chosen = chosen.parts[chosen.shape.select(size)]
    field = chosen.receptive_field
    load, engine, offset = None, None, None
    if measures_load:
        loaded: EffectEngine[Any] = load_engine(model, size)
        load, engine = _measure_load(loaded), _engine_name(loaded)
        offset = _measure_offset(loaded)
    return EffectFacts(
        architecture=model.architecture,
        version=model.version,
        sizes=len(model.parts) if isinstance(model.shape, SizeChoiceShape) else 1,
        sample_rate=model.rate,
        is_rate_known=model.sample_rate is not None,
        weights=count_all_weights(model),
        receptive_field=field,
        receptive_field_ms=None if field is None else 1000 * field / model.rate,
        multiply_adds=count_multiply_adds(chosen, size),
        processor_load=load,
        engine=engine,
        offset=offset,
        metadata=dict(model.metadata or {}),
        licence=f"The licence of its card: {licence}." if licence else UNKNOWN_LICENCE,
    )


def count_all_weights(model: NamModel) -> int:
    """Return the weights of a model and of all models inside it."""
    return len(model.weights) + sum(count_all_weights(part) for part in model.parts)


def count_multiply_adds(model: NamModel, size: float | None = None) -> int:
    """Return the multiply-adds per sample: of every matrix, each number once.

    The 1x1 of the last layer is not counted, because nothing reads its output.
    """
    if isinstance(model.shape, SizeChoiceShape):
        return count_multiply_adds(model.parts[model.shape.select(size)], size)
    own = sum(
        spec.count
        for spec in weight_specs(model.shape)
        if len(spec.sizes) > 1 or spec.name == "impulse_response"
    )
    if isinstance(model.shape, FeedForwardShape):
        last = model.shape.arrays[-1]
        if last.layer1x1_groups is not None:
            own -= last.bottleneck * last.channels // last.layer1x1_groups
    return own + sum(count_multiply_adds(part, size) for part in model.parts)


def _engine_name(engine: EffectEngine[Any]) -> str:
    return "compiled" if isinstance(engine, LoopEngine) else "torch"


def _measure_offset(engine: EffectEngine[Any]) -> float:
    """Return the output at silence; of several channels that with the largest magnitude."""
    silence = np.zeros((1,) if engine.in_channels == 1 else (engine.in_channels, 1), np.float32)
    levels = np.ravel(engine.process(engine.initial_state(), silence))
    return float(levels[np.argmax(np.abs(levels))])


def _measure_load(engine: EffectEngine[Any]) -> float:
    """Return the processor time per second of sound; the best of some runs."""
    rng = np.random.default_rng(0)
    shape = (LOAD_BLOCK,) if engine.in_channels == 1 else (engine.in_channels, LOAD_BLOCK)
    block = (0.1 * rng.standard_normal(shape)).astype(np.float32)
    state = engine.initial_state()
    best = float("inf")
    for _ in range(_RUNS):
        start = time.thread_time()
        for _ in range(_BLOCKS_PER_RUN):
            engine.process(state, block)
        best = min(best, time.thread_time() - start)
    return best * engine.sample_rate / (_BLOCKS_PER_RUN * LOAD_BLOCK)
