"""The card of a trained checkpoint: the model, its training data, its bits per sample.

Input: config, model, dataset and results. Output: a README.md beside the weights. The card has a
line that marks it as generated: a card without that line, edited by a person, is never overwritten.
Called by `task`.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audio_utils.atomic_files import atomic_file
from wavenet.checkpoint import CARD, Checkpoint, CheckpointConfig
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.terminal import escape_controls
from wavenet.training.dataset import Dataset
from wavenet.weights_file import WEIGHTS

GENERATED_MARK = "<!-- Written by `wavenet train`. Remove this line to keep your changes. -->"
CARD_TEXT = """\
---
library_name: wavenet-studio
pipeline_tag: text-to-audio
tags: [audio, {architecture}]
---
{mark}
# {name}

A model trained with WaveNet Studio. Before you publish it, add the notices that the licence of the
data requires, the names of the speakers, and a statement that they agreed.

| | |
|---|---|
| architecture | {architecture} |
| sample rate | {rate} Hz |
| codec | {codec} |
| conditions | {conditions} |
| receptive field | {field} |
| parameters | {parameters:,} ({megabytes:.1f} MB) |
| trained on | {clips} clips, {minutes:.1f} minutes{speeds} |
| steps | {steps}{origin} |{changes}
| held-out clips | {held} clips, {score} |

```
wavenet {command} --checkpoint {folder}{labels} --out out.wav
```
"""


def write_card(
    folder: Path,
    config: CheckpointConfig,
    model: AutoregressiveModel[Any],
    dataset: Dataset,
    steps: int,
    best_bits: float,
    initial_checkpoint: Checkpoint | None = None,
    changes: Sequence[str] = (),
) -> None:
    """Write the card, unless a person has edited it or there are no weights.

    Args:
        folder: of the checkpoint.
        best_bits: bits per sample on the held-out clips; infinite if there were none.
        initial_checkpoint: its weights were the initial ones.
        changes: a sentence for each time the run was resumed with changes.
    """
    card = folder / CARD
    if not (folder / WEIGHTS).exists():
        return
    if card.exists() and GENERATED_MARK not in card.read_text(encoding="utf-8"):
        return
    conditions = [
        _table_cell(f"{c.name} ({', '.join(c.values[:20])})") for c in config.model.labels
    ]
    conditions += [c.kind for c in config.model.conditions if c.kind != "label"]
    rate = config.audio.sample_rate
    speeds = f", each recording at {dataset.n_speeds} speeds" if dataset.n_speeds > 1 else ""
    text = CARD_TEXT.format(
        mark=GENERATED_MARK,
        name=config.name,
        architecture=config.model.architecture,
        rate=rate,
        codec=config.codec.description,
        conditions="; ".join(conditions) or "none",
        field=_describe_receptive_field(model),
        parameters=model.parameter_count,
        megabytes=(folder / WEIGHTS).stat().st_size / 1e6,
        clips=len(dataset.train),
        speeds=speeds,
        minutes=sum(c.samples - c.context for c in dataset.train) / rate / 60,
        steps=steps,
        origin=(
            f", from the weights of `{initial_checkpoint.config.name}`"
            if initial_checkpoint
            else ""
        ),
        changes="".join(f"\n| changed | {_table_cell(change)} |" for change in changes),
        held=len(dataset.validation),
        score=f"{best_bits:.4f} bits per sample" if dataset.validation else "none",
        # an absolute path would publish how this machine is set up
        folder=folder.name if folder.is_absolute() else folder,
        command="vocode recording.wav" if config.model.locals else "generate",
        labels="".join(
            " --set " + escape_controls(shlex.quote(f"{c.name}={c.values[0]}"))
            for c in config.model.labels
        ),
    )
    with atomic_file(card) as path:
        path.write_text(text, encoding="utf-8")


def _table_cell(text: str) -> str:
    return escape_controls(text).replace("|", r"\|")


def _describe_receptive_field(model: AutoregressiveModel[Any]) -> str:
    samples = model.receptive_field
    if samples is None:
        return str(model.config.past_description)
    return f"{samples} samples, {1000 * model.seconds(samples):.0f} ms"
