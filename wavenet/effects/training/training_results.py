"""The results of a training of an effect: errors per pair beside those of a linear filter.

Input: a trained effect and pairs. Output: `results.json` in the folder of the effect, lines of a
table. Read by the export and by the card.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.config import StrictConfig, parse_config
from wavenet.effects.training.effect_errors import measure_errors
from wavenet.effects.training.effect_pairs import PairPart, SplitPair
from wavenet.effects.training.linear_baseline import TAPS, fit_linear_filter, linear_error
from wavenet.effects.training.trained_effect import TrainedEffect
from wavenet.errors import CheckpointError
from wavenet.weights_file import read_bytes

RESULTS = "results.json"
MAX_RESULTS_BYTES = 1 << 20

_Esr = float | None


class PairResult(StrictConfig):
    """Errors of one pair; None for a part that it does not have.

    Attributes:
        name: of the pair.
        setting: of the knobs.
        latency: samples that were removed.
        training_seconds: length of the training part.
        validation_esr, test_esr: of the effect.
        linear_validation_esr, linear_test_esr: of a linear filter of `linear_taps` taps, fitted to
            the training part of this pair only (see `fit_linear_filter`).
    """

    name: str
    setting: dict[str, float]
    latency: int
    training_seconds: float = Field(ge=0)
    validation_esr: _Esr = None
    linear_validation_esr: _Esr = None
    test_esr: _Esr = None
    linear_test_esr: _Esr = None


class TrainingResults(StrictConfig):
    """The results of a training.

    Attributes:
        best_step: step of the weights in the folder.
        steps: number of steps.
        seconds: duration of the training, without its interruptions.
        linear_taps: of the linear filters.
        teacher: whether the wet recordings are those of a model.
        pairs: in their order.
    """

    best_step: int = Field(ge=0)
    steps: int = Field(ge=0)
    seconds: float = Field(ge=0)
    linear_taps: int = TAPS
    teacher: bool = False
    pairs: tuple[PairResult, ...]

    def find(self, setting: dict[str, float]) -> PairResult | None:
        """Return the result of the first pair at a setting that has a validation part."""
        found = (p for p in self.pairs if p.setting == setting and p.validation_esr is not None)
        return next(found, None)


def measure_results(
    effect: TrainedEffect,
    pairs: Sequence[SplitPair],
    best_step: int,
    steps: int,
    seconds: float,
    teacher: bool = False,
) -> TrainingResults:
    """Measure an effect and linear filters on the validation and test parts."""
    validation = measure_errors(effect, pairs, PairPart.VALIDATION)
    test = measure_errors(effect, pairs, PairPart.TEST)
    rows = []
    for n, split in enumerate(pairs):
        taps = fit_linear_filter(split, pairs)
        samples = sum(span.end - span.start for span in split.training)
        rows.append(
            PairResult(
                name=split.pair.name,
                setting=dict(split.pair.setting),
                latency=split.pair.latency,
                training_seconds=samples / effect.config.sample_rate,
                validation_esr=validation[n],
                linear_validation_esr=linear_error(split, split.validation, taps),
                test_esr=test[n],
                linear_test_esr=linear_error(split, split.test, taps),
            )
        )
    return TrainingResults(
        best_step=best_step, steps=steps, seconds=seconds, teacher=teacher, pairs=tuple(rows)
    )


def format_results(results: TrainingResults) -> list[str]:
    """Return the lines of a table."""
    lines = [f"{'pair':24} {'validation':>12} {'linear':>9} {'test':>9} {'linear':>9}"]
    for pair in results.pairs:
        setting = " ".join(f"{name}={value:g}" for name, value in pair.setting.items())
        values = (
            *(pair.validation_esr, pair.linear_validation_esr),
            *(pair.test_esr, pair.linear_test_esr),
        )
        first, *others = ("-" if value is None else f"{value:.5f}" for value in values)
        columns = " ".join(f"{value:>9}" for value in others)
        lines.append(f"{(setting or pair.name)[:24]:24} {first:>12} {columns}")
    return lines


def save_results(folder: Path, results: TrainingResults) -> None:
    """Write the results, completely or not at all.

    Raises:
        CheckpointError: the file cannot be written.
    """
    try:
        with atomic_file(folder / RESULTS) as path:
            path.write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{folder / RESULTS} cannot be written: {os_error_reason(error)}"
        ) from None


def load_results(folder: Path) -> TrainingResults | None:
    """Read the results of an effect; None if its training has not ended.

    Raises:
        CheckpointError: the file cannot be read.
        ConfigError: it is damaged.
    """
    path = folder / RESULTS
    if not path.is_file():
        return None
    return parse_config(TrainingResults, read_bytes(path, MAX_RESULTS_BYTES), str(path))
