"""The files of dry and wet recordings with the settings of the knobs, and their contents.

Input: a table with a row per pair (columns dry, wet, and one per knob; optional columns part and
weight), or two paths; or a dry recording and a model that makes the wet one. Output: aligned pairs
and their reports. Called by `wavenet effects train`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from audio_utils import io
from audio_utils.levels import Channel
from wavenet.config import Name
from wavenet.effects.effect_engine import EffectEngine, load_engine
from wavenet.effects.nam_model import NamModel
from wavenet.effects.pair_latency import align, find_lag
from wavenet.effects.pair_measurement import measure_pair, whole_latency
from wavenet.effects.pair_report import PairReport, judge_pair
from wavenet.effects.training.effect_pairs import EffectPair, PairPart
from wavenet.effects.training.trained_effect import EffectKnob
from wavenet.errors import DataError
from wavenet.user_input.separated_text import InvalidRow, find_separators, open_rows
from wavenet.user_input.typed_numbers import read_number

MAX_LATENCY = 1 << 20  # samples
MAX_SPREAD = 2  # samples: latencies of pairs that differ by so little are taken as one
_BLOCK = 1 << 16  # samples


@dataclass(frozen=True)
class PairFiles:
    """The files of a pair.

    Attributes:
        dry, wet: paths.
        setting: of the knobs, by name in the order of the table.
        part, weight: see `EffectPair`.
    """

    dry: Path
    wet: Path
    setting: dict[str, float] = field(default_factory=dict)
    part: PairPart | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class ReadPairs:
    """The recordings of pairs.

    Attributes:
        pairs: aligned.
        reports: of the checks, one per pair; none if they were not checked.
        sample_rate: Hz.
    """

    pairs: list[EffectPair]
    reports: list[PairReport]
    sample_rate: int


def read_pair_table(path: Path) -> list[PairFiles]:
    """Read a table of pairs; paths are relative to its folder.

    Raises:
        DataError: the table cannot be read, or a row is invalid: one sentence with its line.
    """
    with open_rows(path) as text:
        separator = text.separator or next(iter(find_separators(text.first)), ",")
        names, rows = text.table(separator, has_quotes=True)
        missing = [name for name in ("dry", "wet") if name not in names]
        if missing:
            raise DataError(
                f"{path} has no column {missing[0]}; expected the columns dry and wet, and one "
                "per knob"
            )
        found = []
        for row in rows:
            if isinstance(row, InvalidRow):
                raise DataError(f"{path} line {row.line} {row.reason}")
            line, cells = row
            values = dict(zip(names, (cell.strip() for cell in cells), strict=True))
            found.append(_read_row(path, line, values))
    if not found:
        raise DataError(f"{path} has no rows; write one row per pair below its heading")
    return found


def _read_row(path: Path, line: int, values: dict[str, str]) -> PairFiles:
    place = f"{path} line {line}"
    dry, wet = values.pop("dry"), values.pop("wet")
    if not dry or not wet:
        raise DataError(f"{place}: the column {'wet' if dry else 'dry'} is empty")
    part, weight = values.pop("part", ""), values.pop("weight", "")
    if part and part not in list(PairPart):
        raise DataError(f"{place}: part: expected {', '.join(PairPart)} or nothing, found {part}")
    number = read_number(weight) if weight else 1.0
    if number is None or not 0 < number <= 1e6:
        raise DataError(f"{place}: weight: expected a number above 0, found {weight}")
    setting = {}
    for name, text in values.items():
        value = read_number(text)
        if value is None or not 0 <= value <= 1:
            raise DataError(
                f"{place}: the knob {name}: expected a number from 0 to 1, found "
                f"{text or 'nothing'}"
            )
        setting[name] = float(value)
    folder = path.parent
    return PairFiles(
        folder / dry, folder / wet, setting, PairPart(part) if part else None, float(number)
    )


def make_knobs(files: Sequence[PairFiles]) -> tuple[EffectKnob, ...]:
    """Return the knobs of pairs.

    Raises:
        DataError: a name is invalid, or a knob has one value only.
    """
    knobs = []
    for name in files[0].setting:
        try:
            TypeAdapter(Name).validate_python(name)
        except ValidationError:
            raise DataError(
                f"the column {name!r} is no name of a knob; use letters, digits and _"
            ) from None
        settings = tuple(sorted({pair.setting[name] for pair in files}))
        if len(settings) < 2:
            raise DataError(
                f"the knob {name} has the value {settings[0]:g} in all pairs, so its effect cannot "
                "be learned; remove the column, or record other settings"
            )
        knobs.append(EffectKnob(name=name, settings=settings, default=settings[len(settings) // 2]))
    return tuple(knobs)


def read_pairs(
    files: Sequence[PairFiles],
    latency: int | None = None,
    is_checked: bool = True,
    channel: Channel = "mix",
    report: Callable[[Path], None] = lambda path: None,
) -> ReadPairs:
    """Read recordings at the rate of the first dry one, and remove the latency.

    Args:
        files: of the pairs.
        latency: samples, of all pairs; None: found for each. If these differ by at most
            `MAX_SPREAD`, all have the smallest: a model cannot answer before its input.
        is_checked: whether each pair is judged.
        channel: of stereo recordings.
        report: called with the wet file of each pair before it is read.
    Raises:
        AudioError: a file cannot be read.
        DataError: no latency was found.
    """
    dry_cache: dict[Path, io.Recording] = {}
    rate: int | None = None
    pairs, reports = [], []
    for pair in files:
        report(pair.wet)
        if pair.dry not in dry_cache:
            dry_cache[pair.dry] = io.read(pair.dry, rate, channel=channel)
        dry = dry_cache[pair.dry]
        rate = dry.sample_rate
        wet = io.read(pair.wet, rate, channel=channel)
        samples = (dry.waveform.numpy(), wet.waveform.numpy())
        found = latency
        if is_checked:
            measures = measure_pair(*samples, rate)
            reports.append(judge_pair(measures, wet.original_rate))
            found = measures.latency if latency is None else latency
        elif latency is None:
            found = _find_latency(pair.wet, *samples, rate)
        assert found is not None
        # aligned below, when the latencies of all pairs are known
        pairs.append(
            EffectPair(
                pair.wet.stem,
                dry.waveform,
                wet.waveform,
                pair.setting,
                found,
                pair.weight,
                pair.part,
            )
        )
    assert rate is not None
    latencies = [pair.latency for pair in pairs]
    if max(latencies) - min(latencies) <= MAX_SPREAD:
        pairs = [replace(pair, latency=min(latencies)) for pair in pairs]
    return ReadPairs([_align_pair(pair) for pair in pairs], reports, rate)


def render_teacher(dry_path: Path, teacher: NamModel, channel: Channel = "mix") -> ReadPairs:
    """Read a dry recording at the rate of a model, and compute the wet one by the model.

    Raises:
        AudioError: the file cannot be read.
        DataError: the model has several channels, a rate that audio files do not have, or an
            output that is not finite.
    """
    if teacher.in_channels != 1 or teacher.out_channels != 1:
        raise DataError("the teacher has several channels; expected one input and one output")
    if not float(teacher.rate).is_integer():
        raise DataError(f"the teacher has the rate {teacher.rate:g} Hz; expected a whole number")
    rate = int(teacher.rate)
    dry = io.read(dry_path, rate, channel=channel).waveform
    engine: EffectEngine = load_engine(teacher)  # type: ignore[type-arg]
    state, samples = engine.initial_state(), dry.numpy()
    blocks = [samples[n : n + _BLOCK] for n in range(0, len(samples), _BLOCK)]
    wet = np.concatenate([engine.process(state, block) for block in blocks])
    if not np.isfinite(wet).all():
        raise DataError("the teacher has an output that is not finite")
    pair = EffectPair(dry_path.stem, dry, torch.from_numpy(wet), {})
    return ReadPairs([pair], [], rate)


def _find_latency(path: Path, dry: np.ndarray, wet: np.ndarray, rate: int) -> int:
    found = find_lag(dry.astype(np.float64), wet.astype(np.float64), rate)
    if not found.is_found:
        raise DataError(
            f"no latency was found: {path} does not follow its dry recording; check that both "
            "files belong together, or set --latency"
        )
    return whole_latency(found.lag)


def _align_pair(pair: EffectPair) -> EffectPair:
    dry, wet = align(pair.dry.numpy(), pair.wet.numpy(), pair.latency)
    if not len(dry):
        raise DataError(
            f"{pair.name}: nothing is left after a latency of {pair.latency:,} samples is removed"
        )
    return replace(pair, dry=torch.from_numpy(dry), wet=torch.from_numpy(wet))
