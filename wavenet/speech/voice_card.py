"""The card of a trained voice, README.md.

Input: the two models and the errors on held-out clips. Output: Markdown. Called by
`train_voice.py`.
"""

from dataclasses import dataclass

from wavenet.checkpoint import CheckpointConfig
from wavenet.speech.acoustic_model import AcousticModel
from wavenet.speech.train_acoustic_model import AcousticErrors

CARD_TEXT = """\
---
library_name: wavenet-studio
pipeline_tag: text-to-speech
language: en
tags: [audio, speech, wavenet]
---
# {name}

A voice trained with WaveNet Studio: English text to speech. Before you publish it, add the notices
that the licence of the recordings requires, the name of the speaker, and a statement that the
speaker agreed.

| | |
|---|---|
| speakers | {speakers} |
| sample rate | {rate} Hz |
| frames | {bands} mel bands, {frames:g} per second |
| trained on | {clips:,} clips, {minutes:.1f} minutes |
| acoustic model | {parameters:,} parameters, {steps:,} steps |
| errors on {judged} | frames {errors.frames_db:.2f} dB, durations {errors.duration_ms:.1f} ms, F0 \
{errors.f0_semitones:.2f} semitones, energy {errors.energy_db:.2f} dB |
| vocoder | {vocoder}: {architecture}, {codec} |

```
wavenet speak "It goes." --voice {folder}
```
"""


@dataclass(frozen=True)
class VoiceTrainingSummary:
    """The numbers of a training for the card.

    Attributes:
        clips, seconds: that were trained on; seconds without the silence at the ends.
        held_out: number of clips that were not trained on.
        steps: of the acoustic model.
        errors: of the acoustic model on the held-out clips; on the training clips if there are
            none.
    """

    clips: int
    seconds: float
    held_out: int
    steps: int
    errors: AcousticErrors


def format_card(
    model: AcousticModel, vocoder: CheckpointConfig, summary: VoiceTrainingSummary, folder: str
) -> str:
    """Return the card of a voice.

    Args:
        folder: of the voice, for the example.
    """
    config = model.config
    plural = "s" * (summary.held_out != 1)
    held_out = f"{summary.held_out:,} held-out clip{plural}"
    return CARD_TEXT.format(
        name=config.name,
        speakers=", ".join(config.speakers),
        rate=config.sample_rate,
        bands=config.mel.n_mels,
        frames=config.frames_per_second,
        clips=summary.clips,
        minutes=summary.seconds / 60,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=summary.steps,
        judged=held_out if summary.held_out else "the training clips",
        errors=summary.errors,
        vocoder=vocoder.name,
        architecture=vocoder.model.architecture,
        codec=vocoder.codec.description,
        folder=folder,
    )
