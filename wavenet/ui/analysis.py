"""One press of Analyse: a recording is read, measured and drawn, then scored by a model.

The path of an upload enters; updates of the page leave, by the names in `OUTPUTS`. Called by the
Analyse tab.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from matplotlib.figure import Figure
from torch import Tensor

from audio_utils import analysis, io, plots
from audio_utils.errors import AudioError
from audio_utils.example_sound import make_example_sound
from audio_utils.features import FeatureConfig, loudness
from wavenet.checkpoint import Checkpoint
from wavenet.errors import WaveNetError
from wavenet.likelihood.score import Score, score_windows
from wavenet.ui import jobs, sounds
from wavenet.ui.controls import chosen_labels
from wavenet.ui.live import Stops, fact_list
from wavenet.ui.sounds import Sound

EXAMPLE_RATE = 16_000
# Samples that are scored at a time: between two the run can be stopped.
WINDOW = 16_384
Update = dict[str, Any]


def _draw_levels(sound: Sound) -> Figure:
    config = FeatureConfig.default_for(sound.rate)
    hop = max(config.hop_length, sound.waveform.numel() // plots.MAX_COLUMNS)
    parts = {"recording": sound.waveform, "error of 8 bits": sound.waveform - sound.coarse}
    levels = {name: loudness(part, config.win_length, hop) for name, part in parts.items()}
    return plots.plot_levels(levels, hop / sound.rate, sound.seconds)


# In the order in which they are drawn and shown; the pitch takes longest.
PICTURES: dict[str, Callable[[Sound], Figure]] = {
    "waveform": lambda s: plots.plot_waveform(s.waveform, s.rate),
    "spectrogram": lambda s: plots.plot_spectrogram(s.waveform, s.rate),
    "mel": lambda s: plots.plot_mel(s.waveform, s.rate),
    "mfcc": lambda s: plots.plot_mfcc(s.waveform, s.rate),
    "mfcc-delta": lambda s: plots.plot_deltas(s.waveform, s.rate, 1),
    "mfcc-delta-delta": lambda s: plots.plot_deltas(s.waveform, s.rate, 2),
    "loudness": _draw_levels,
    "pitch": lambda s: plots.plot_pitch(*s.pitch, s.seconds),
    "histogram": lambda s: plots.plot_histogram(s.codes, sounds.EIGHT_BITS.n_classes),
}
# What a press of Analyse changes, and what the score behind it does.
SIGNAL_OUTPUTS = ("status", "empty", "facts", "listen", "original", "coarse", "features")
SCORE_OUTPUTS = ("score", "strip", "score_facts", "bits", "again")
OUTPUTS = (*SIGNAL_OUTPUTS, "pictures", *PICTURES, *SCORE_OUTPUTS)


def make_example_file() -> Iterator[str]:
    """Yield the path of the example; the page keeps a copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "example.wav"
        io.write(path, make_example_sound(EXAMPLE_RATE), EXAMPLE_RATE)
        yield str(path)


@cache
def warm_up() -> None:
    """Let the pitch tracker compile, once: on a new machine that takes two seconds."""
    sound = make_example_sound(EXAMPLE_RATE)[:EXAMPLE_RATE]
    analysis.measure_recording(sound, EXAMPLE_RATE)
    analysis.track_pitch(sound, EXAMPLE_RATE)


def clear() -> Iterator[Update]:
    """Take back what is shown of another recording."""
    yield {"status": "", **_cleared()}


def show_signal(path: str | None) -> Iterator[Update]:
    """Measure and draw a recording, one picture after the other.

    Args:
        path: of an upload, or None.
    Raises:
        gr.Error: it cannot be analysed; an update has said so before.
    """
    try:
        yield {"status": _note("Reading the recording …"), **_cleared()}
        sound = sounds.read_sound(path)
        facts = sounds.signal_facts(sound)
        with tempfile.TemporaryDirectory() as folder:
            shown = {
                "facts": fact_list(facts),
                "listen": gr.update(visible=True),
                "original": _save_sound(folder, sound, "original", sound.waveform),
                "coarse": _save_sound(folder, sound, "8-bit", sound.coarse),
                "empty": gr.update(visible=False),
                "pictures": gr.update(visible=True),
                "score": _note("The surprise of a model is worked out after the pictures."),
            }
            yield shown
            following = [*list(PICTURES)[1:], "features"]
            for (name, draw), after in zip(PICTURES.items(), following, strict=True):
                shown[name] = _save_picture(folder, sound, name, draw(sound))
                # One update for both, for each has to wait until the page has taken the last.
                status = _note(f"Working on: {after.replace('-', ' ')} …")
                yield {name: shown[name], "status": status}
            # All once more: a slow page misses some of many updates, but never the last.
            yield {
                **shown,
                "status": "",
                "facts": fact_list(facts | sounds.pitch_facts(sound)),
                "features": _save_features(folder, sound),
                "again": gr.update(interactive=True),
            }
    except (WaveNetError, AudioError) as error:
        yield {"status": _alert(error)}
        with jobs.shown_errors():
            raise


def show_score(root: Path, path: str | None, name: str | None, *chosen: Any) -> Iterator[Update]:
    """Score a recording under a checkpoint and draw the bits of its samples over time.

    Args:
        root: folder of checkpoint folders.
        path: of an upload, or None.
        name: of the checkpoint.
        chosen: what number fields and dropdowns hold, as `controls.chosen_labels` takes it.
    Raises:
        gr.Error: it cannot be scored; an update has said so before.
    """
    try:
        yield {**_score_cleared(), "score": _note(f"Scoring under {name} …")}
        checkpoint = jobs.load_named(root, name)
        labels = chosen_labels(checkpoint.config.model, chosen)
        sound = sounds.read_sound(path, checkpoint.config.audio.sample_rate)
        parts = []
        for part in score_windows(checkpoint, sound.waveform, labels, window=WINDOW):
            parts.append(part)
            share = sum(map(len, parts)) / sound.waveform.numel()
            yield {"score": _note(f"Scoring under {name}: {share:.0%}")}
        yield from _scored(checkpoint, sound, Score(torch.cat(parts)))
    except (WaveNetError, AudioError) as error:
        yield {"score": _alert(error)}
        with jobs.shown_errors():
            raise


def until_stopped(
    work: Callable[..., Iterator[Update]], stops: Stops
) -> Callable[..., Iterator[Update]]:
    """Let a score end at its next window once its number is in `stops`."""

    def stoppable(run: int, *values: Any) -> Iterator[Update]:
        for update in work(*values):
            if run in stops:
                yield {"score": _note("Stopped.")}
                return
            yield update

    return stoppable


def _scored(checkpoint: Checkpoint, sound: Sound, score: Score) -> Iterator[Update]:
    numbers = sounds.score_numbers(checkpoint, sound, score)
    marks = {f"{checkpoint.config.name}, mean": score.bits_per_sample}
    if numbers["histogram_bits"] is not None:
        marks["histogram alone"] = numbers["histogram_bits"]
    figure = plots.plot_surprise(score.bits, sound.rate, sound.seconds, marks)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{sound.name}_bits.npz"
        rate = torch.tensor(sound.rate)
        analysis.save_arrays(file, {"bits": score.bits, "sample_rate": rate})
        yield {
            "score": gr.update(visible=False),
            "strip": _save_picture(folder, sound, "surprise", figure),
            "score_facts": fact_list(sounds.score_facts(checkpoint.config.name, numbers)),
            "bits": gr.update(value=str(file), interactive=True),
        }


def _cleared() -> Update:
    hidden = gr.update(visible=False)
    pictures = {name: gr.update(value=None, visible=False) for name in PICTURES}
    features = gr.update(value=None, interactive=False)
    return {
        "empty": gr.update(visible=True),
        "facts": "",
        "listen": hidden,
        "pictures": hidden,
        "features": features,
        "again": gr.update(interactive=False),
        **pictures,
        **_score_cleared(),
    }


def _score_cleared() -> Update:
    return {
        "strip": gr.update(value=None, visible=False),
        "score_facts": "",
        "bits": gr.update(value=None, interactive=False),
    }


def _note(text: str) -> Any:
    return gr.update(value=f"<p class='note' role='status'>{escape(text)}</p>", visible=True)


def _alert(error: Exception) -> Any:
    text = escape(jobs.sentence(error))
    return gr.update(value=f"<p class='note' role='alert'>{text}</p>", visible=True)


def _save_sound(folder: str, sound: Sound, kind: str, waveform: Tensor) -> str:
    path = Path(folder) / f"{sound.name}_{kind}.wav"
    io.write(path, waveform, sound.rate)
    return str(path)


def _save_picture(folder: str, sound: Sound, name: str, figure: Figure) -> Any:
    path = Path(folder) / f"{sound.name}_{name}.png"
    plots.save_figure(figure, path)
    return gr.update(value=str(path), visible=True)


def _save_features(folder: str, sound: Sound) -> Any:
    path = Path(folder) / f"{sound.name}_features.npz"
    arrays = analysis.feature_arrays(sound.waveform, sound.rate)
    analysis.save_arrays(path, arrays | sounds.pitch_arrays(sound))
    return gr.update(value=str(path), interactive=True)
