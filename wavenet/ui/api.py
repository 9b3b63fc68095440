"""The public functions, for programs ("Use via API" in the footer).

Values from anywhere enter, of any type; a WAV file or numbers leave, or one sentence.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from audio_utils import io
from wavenet.conditions import Strict
from wavenet.errors import ConditionError
from wavenet.likelihood.score import score as score_waveform
from wavenet.parsing import make
from wavenet.ui import jobs, sounds


class Judge(Strict):
    """What is to score a recording."""

    checkpoint: str
    labels: dict[str, str | float]


def make_api(root: Path) -> Callable[..., dict[str, Any]]:
    """Make the function `generate` for a folder of checkpoints."""

    def generate(
        checkpoint: str = "digits",
        labels: dict[str, str] | None = None,
        seconds: float = 1.0,
        seed: int = -1,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> dict[str, Any]:
        """Generate one clip with a WaveNet and return it as a lossless WAV file.

        Args:
            checkpoint: name of the checkpoint.
            labels: one for each of its label sets, such as {"digit": "7", "speaker": "jackson"}.
            seconds: length, above 0, at most 30.
            seed: the same seed gives the same audio; -1 draws one, which the file's name tells.
            temperature: above 0; below 1 is calmer.
            top_k: draw from the k likeliest codes; 0 is off.
            top_p: draw from the likeliest codes that hold this share; 1 is off.
        Returns:
            The WAV file.
        """
        with jobs.shown_errors(), tempfile.TemporaryDirectory() as folder:
            wish = make(
                jobs.Wish,
                "settings",
                seconds=seconds,
                seed=seed,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                labels=labels or {},
            )
            if not isinstance(checkpoint, str):
                raise ConditionError(f"checkpoint must be a name, found {checkpoint!r}")
            job = jobs.make_job(jobs.load_named(root, checkpoint), wish)
            path = Path(folder) / job.file_names[0]
            io.write(path, job.waveform(), job.rate)
            # Into the folder that the app serves: another path would be text to the client.
            return gr.FileData(path=save_file_to_cache(path, get_upload_folder())).model_dump()

    return generate


def make_analyse() -> Callable[..., dict[str, Any]]:
    """Make the function `analyse`."""

    def analyse(recording: gr.FileData) -> dict[str, Any]:
        """Measure a recording: levels, loudness, clipping, silence, pitch, what 8 bits do to it.

        Args:
            recording: WAV, FLAC, OGG or MP3, at most 120 s, mixed to one channel.
        Returns:
            Numbers by name; null where there is none, as the level of silence.
        """
        with jobs.shown_errors():
            sound = sounds.read_sound(_uploaded(recording))
            return sounds.signal_numbers(sound) | sounds.pitch_numbers(sound)

    return analyse


def make_score(root: Path) -> Callable[..., dict[str, Any]]:
    """Make the function `score` for a folder of checkpoints."""

    def score(
        recording: gr.FileData,
        checkpoint: str = "digits",
        labels: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Score a recording under a WaveNet: bits per sample, lower is better.

        Args:
            recording: WAV, FLAC, OGG or MP3, at most 120 s, mixed to one channel and resampled.
            checkpoint: name of the checkpoint.
            labels: one for each of its label sets, such as {"digit": "7", "speaker": "jackson"}.
        Returns:
            Numbers by name, and "surprise", the mean bits of every 10 ms.
        """
        with jobs.shown_errors():
            judge = make(Judge, "settings", checkpoint=checkpoint, labels=labels or {})
            loaded = jobs.load_named(root, judge.checkpoint)
            sound = sounds.read_sound(_uploaded(recording), loaded.config.audio.sample_rate)
            result = score_waveform(loaded, sound.waveform, judge.labels)
            return sounds.score_numbers(loaded, sound, result) | sounds.surprise(sound, result)

    return score


def _uploaded(recording: Any) -> str:
    """Give the path of a file that Gradio has taken in; one that somebody typed is refused."""
    path = recording.get("path") if isinstance(recording, dict) else None
    folder = Path(get_upload_folder()).resolve()
    if not isinstance(path, str) or "\0" in path or not Path(path).resolve().is_relative_to(folder):
        raise ConditionError('recording must be an uploaded file: handle_file("sound.wav")')
    return path
