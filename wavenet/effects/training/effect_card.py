"""The card of a trained effect: its network, its recordings, its errors beside a linear filter.

Input: an effect and its results. Output: a README.md beside the weights. A card that a person has
edited, which has no line that marks it as generated, is kept. Called by `wavenet effects train`.
"""

from pathlib import Path

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.checkpoint import CARD
from wavenet.effects.training.trained_effect import TrainedEffect
from wavenet.effects.training.training_results import TrainingResults
from wavenet.errors import CheckpointError
from wavenet.terminal import escape_controls

GENERATED_MARK = (
    "<!-- Written by `wavenet effects train`. Remove this line to keep your changes. -->"
)
CARD_TEXT = """\
---
library_name: wavenet-studio
pipeline_tag: audio-to-audio
tags: [audio, guitar, neural-amp-modeler]
---
{mark}
# {name}

A model of an amplifier or effect, trained with WaveNet Studio. A model of a device belongs to who
made it, and names of devices to their makers: before you publish it, add the licence of the
recordings and say that the maker of the device does not endorse it.

| | |
|---|---|
| architecture | {architecture} |
| sample rate | {rate} Hz |
| knobs | {knobs} |
| receptive field | {field} samples, {milliseconds:.0f} ms |
| weights | {weights:,} |
| trained on | {pairs}, {minutes:.1f} minutes |
| steps | {best_step:,} of {steps:,} |

Error-to-signal ratio (ESR) of the parts that were not trained on, beside that of a linear filter of
{taps} taps that was fitted to the same recordings:

| pair | validation | linear | test | linear |
|---|---|---|---|---|
{rows}

```
wavenet effects export {folder} --out {folder}.nam{setting}
```
"""


def write_effect_card(folder: Path, effect: TrainedEffect, results: TrainingResults) -> None:
    """Write the card, unless a person has edited it.

    Raises:
        CheckpointError: the card cannot be read or written.
    """
    card, config = folder / CARD, effect.config
    try:
        if card.exists() and GENERATED_MARK not in card.read_text(encoding="utf-8"):
            return
        text = CARD_TEXT.format(
            mark=GENERATED_MARK,
            name=config.name,
            architecture=config.architecture.kind,
            rate=config.sample_rate,
            knobs=_describe_knobs(effect),
            field=effect.receptive_field,
            milliseconds=1000 * effect.receptive_field / config.sample_rate,
            weights=sum(p.numel() for p in effect.parameters()),
            pairs=_describe_pairs(results),
            minutes=sum(pair.training_seconds for pair in results.pairs) / 60,
            best_step=results.best_step,
            steps=results.steps,
            taps=results.linear_taps,
            rows="\n".join(_table_row(results)),
            folder=folder.name,
            setting="".join(f" --set {knob.name}={knob.default:g}" for knob in config.knobs),
        )
        with atomic_file(card) as path:
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{card} cannot be written: {os_error_reason(error)}") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"{card} is not UTF-8 text; rename it") from None


def _describe_knobs(effect: TrainedEffect) -> str:
    described = [
        f"{knob.name} ({', '.join(f'{value:g}' for value in knob.settings)})"
        for knob in effect.config.knobs
    ]
    return "; ".join(described) or "none"


def _describe_pairs(results: TrainingResults) -> str:
    count = len(results.pairs)
    kind = "rendered by another model" if results.teacher else "recorded"
    return f"{count} {'pair' if count == 1 else 'pairs'}, {kind}"


def _table_row(results: TrainingResults) -> list[str]:
    rows = []
    for pair in results.pairs:
        values = (
            *(pair.validation_esr, pair.linear_validation_esr),
            *(pair.test_esr, pair.linear_test_esr),
        )
        setting = " ".join(f"{name}={value:g}" for name, value in pair.setting.items())
        name = escape_controls(setting or pair.name).replace("|", r"\|")
        cells = ("-" if value is None else f"{value:.5f}" for value in values)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows
