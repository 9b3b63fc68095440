"""The card of a trained checkpoint: what it is, what it was trained on, how well it does.

What a run knows enters, a README.md beside the weights leaves. It holds a line that a person who
edits it takes out; without that line it is never written over.
"""

from pathlib import Path
from typing import Any

from audio_utils.files import atomic_file
from wavenet.checkpoint import CARD, WEIGHTS, Checkpoint, CheckpointConfig
from wavenet.model.base import AutoregressiveModel
from wavenet.training.data import Dataset

MARK = "<!-- Written by `wavenet train`. Take this line out to keep what you change. -->"
CARD_TEXT = """\
---
library_name: wavenet-studio
pipeline_tag: text-to-audio
tags: [audio, wavenet]
---
{mark}
# {name}

A WaveNet trained with WaveNet Studio. Before you pass it on, add what the data's licence asks for,
and whose voices these are and that they agreed.

| | |
|---|---|
| sample rate | {rate} Hz |
| codec | {law}, {bits} bits, rounded {rounding} |
| conditions | {conditions} |
| receptive field | {field} samples, {milliseconds:.0f} ms |
| parameters | {parameters:,} ({megabytes:.1f} MB) |
| trained on | {clips} clips, {minutes:.1f} minutes{speeds} |
| steps | {steps}{origin} |
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
    best: float,
    start: Checkpoint | None = None,
) -> None:
    """Write the card, unless a person has made it theirs.

    Args:
        folder: of the checkpoint.
        best: bits per sample on the held-out clips; infinite when there were none.
        start: whose weights the run began with.
    """
    card = folder / CARD
    if not (folder / WEIGHTS).exists():
        return
    if card.exists() and MARK not in card.read_text(encoding="utf-8"):
        return
    kinds = [f"{c.name} ({', '.join(c.values[:20])})" for c in config.model.labels]
    kinds += [c.kind for c in config.model.conditions if c.kind != "label"]
    rate = config.audio.sample_rate
    text = CARD_TEXT.format(
        mark=MARK,
        name=config.name,
        rate=rate,
        law=config.codec.law,
        bits=config.codec.bits,
        rounding=config.codec.rounding,
        conditions="; ".join(kinds) or "none",
        field=model.receptive_field,
        milliseconds=1000 * model.seconds(model.receptive_field or 0),
        parameters=model.parameter_count,
        megabytes=(folder / WEIGHTS).stat().st_size / 1e6,
        clips=len(dataset.train),
        speeds=f", each recording at {dataset.speeds} speeds" if dataset.speeds > 1 else "",
        minutes=sum(c.samples - c.context for c in dataset.train) / rate / 60,
        steps=steps,
        origin=f", from the weights of `{start.config.name}`" if start else "",
        held=len(dataset.validation),
        score=f"{best:.4f} bits per sample" if dataset.validation else "none",
        folder=folder,
        command="vocode recording.wav" if config.model.locals else "generate",
        labels="".join(f" --set {c.name}={c.values[0]}" for c in config.model.labels),
    )
    with atomic_file(card) as path:
        path.write_text(text, encoding="utf-8")
