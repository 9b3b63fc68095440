"""The recordings of a voice beside the mel frames that its acoustic model predicts of them.

A regression predicts a mean, so its frames are smoother than those of recordings. A vocoder that
has only heard recordings makes dull and noisy sound of them, so it is also trained on predicted
frames. They are predicted from the phones with the durations, F0 and energy of the recording, so
they fit it in time. Input: examples and their recordings. Output: a folder of recordings,
`NAME.flac` with `NAME.mel.npy`, and their table, which `wavenet train` reads with `stored_frames`.
Called by `train_voice`.

Source: Shen et al. 2018, "Natural TTS synthesis by conditioning WaveNet on mel spectrogram
predictions", section 2.3.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from torch import Tensor

from audio_utils import io
from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.errors import AudioError
from wavenet.errors import DataError, FolderError
from wavenet.model.frame_scales import MEL_MIDDLE, MEL_SPAN
from wavenet.speech.acoustic_model import AcousticModel
from wavenet.speech.spoken_example_files import ExampleSource
from wavenet.speech.spoken_examples import SpokenExample
from wavenet.speech.train_acoustic_model import decode_example
from wavenet.speech.voice_clips import VoiceClip

TABLE = "metadata.jsonl"


def predict_frames(model: AcousticModel, example: SpokenExample) -> Tensor:
    """Return the frames (F, bands) of an example as the model predicts them, in dB."""
    return decode_example(model, example) * MEL_SPAN + MEL_MIDDLE


def write_predicted_recordings(
    folder: Path,
    model: AcousticModel,
    source: ExampleSource,
    clips: Iterable[tuple[VoiceClip, SpokenExample]],
    advance: Callable[[int], object] = lambda amount: None,
) -> None:
    """Write the spoken part of each recording with its predicted frames; the table is the last.

    Args:
        folder: of the new recordings; files that exist are replaced.
        model: predicts the frames.
        source: how the recordings are read.
        clips: with their examples.
        advance: called with 1 after each clip.
    Raises:
        DataError: a recording cannot be read.
        FolderError: a file cannot be written.
    """
    rate, hop = model.config.sample_rate, model.config.hop
    rows = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (clip, example) in enumerate(clips):
            waveform = source.read(clip.file_name)
            start = example.start * hop
            # so many samples have exactly the frames of the example
            spoken = waveform[start : start + (len(example.frames) - 1) * hop + 1]
            name = f"{number:06}"
            io.write(folder / f"{name}.flac", spoken, rate)
            with atomic_file(folder / f"{name}.mel.npy") as path, path.open("wb") as file:
                np.save(file, predict_frames(model, example).numpy())
            rows.append(json.dumps({"file_name": f"{name}.flac", "part": clip.part}) + "\n")
            advance(1)
        with atomic_file(folder / TABLE) as path:
            path.write_text("".join(rows), encoding="utf-8")
    except AudioError as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise FolderError(f"{folder} cannot be written: {os_error_reason(error)}") from None
