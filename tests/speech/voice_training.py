"""A tiny recipe of a voice, a corpus of vowels that it learns from, and training in one process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.speech.speech_files import SAMPLE_RATE, even_segments, fake_version, make_syllable
from wavenet.speech import align_corpus, spoken_example_files
from wavenet.speech.train_voice import VoiceCallbacks
from wavenet.speech.voice_job import VoiceJob
from wavenet.speech.voice_recipe import load_voice_recipe
from wavenet.training import loop
from wavenet.training.dataset import read_dataset
from wavenet.training.training_setup import RecipeOptions, TrainingSetup, make_task, set_up_recipe

RECIPE = """
kind = "voice"
name = "tiny_voice"
[acoustic_model]
channels = 8
encoder_blocks = 1
decoder_blocks = 1
attention_layers = 1
kernel_size = 3
[acoustic_training]
steps = 6
clips_per_step = 2
[vocoder]
name = "tiny_vocoder"
audio.sample_rate = 8000
[vocoder.model]
residual_channels = 4
gate_channels = 4
skip_channels = 4
dilations = [1, 2, 4]
condition_channels = 4
condition_hop = 80
conditions = [{kind = "mel", n_mels = 6, win_length = 160, channels = 4}]
[vocoder.data]
max_seconds = 0.2
[vocoder.train]
steps = 6
samples_per_step = 1600
save_every = 2
validate_every = 3
gain_db = 3.0
[adaptation]
steps = 4
"""
TEXTS = {"a": "See saw.", "b": "A saw.", "c": "So go on.", "d": "Me too!"}


def write_corpus(folder: Path, texts: dict[str, str] = TEXTS) -> Path:
    """Write a corpus of syllables in stereo at 16 kHz, each at its own level."""
    (folder / "wavs").mkdir(parents=True)
    syllable = make_syllable(0.12, 0.12)
    for n, name in enumerate(texts):
        samples = np.concatenate([syllable, syllable[: 1000 * n]]) * (1 - 0.1 * (n % 4))
        stereo = np.stack([samples, 0.5 * samples], 1)
        soundfile.write(folder / "wavs" / f"{name}.wav", stereo, SAMPLE_RATE)
    lines = [f"{name}|{text}\n" for name, text in texts.items()]
    (folder / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return folder


def write_recipe(folder: Path, text: str = RECIPE) -> str:
    """Write a recipe and return its path."""
    path = folder / "tiny_voice.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def make_job(corpus: Path, folder: Path, text: str = RECIPE, **changes: object) -> VoiceJob:
    """Return the job of a tiny voice."""
    recipe = load_voice_recipe(write_recipe(corpus.parent, text))
    values = {"setup": set_up_recipe(recipe.vocoder, RecipeOptions()), "threads": 1}
    return VoiceJob(recipe, corpus, folder, **{**values, **changes})


def train_vocoder(
    setup: TrainingSetup,
    folder: Path,
    resume: bool,
    on_record: Callable[[dict[str, object]], None] = lambda record: None,
) -> None:
    """Train a vocoder on the CPU without messages."""
    recipe = setup.recipe
    dataset = read_dataset(recipe.data, recipe.audio.sample_rate, recipe.model)
    task = make_task(setup, dataset, lambda text: None)
    loop.train(task, folder, resume, on_record, device=torch.device("cpu"))


def make_callbacks(**changes: object) -> VoiceCallbacks:
    """Return callbacks with an aligner that needs no package."""
    values = {"aligner": even_segments, "version": fake_version, "train_vocoder": train_vocoder}
    return VoiceCallbacks(**{**values, **changes})


def work_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Align and compute examples in this process, because the start of a worker takes seconds."""

    def run_aligner(queue, folder, aligner, count):
        while (task := queue.next_task()) is not None:
            queue.finish_task(task, align_corpus._align_task(task, folder, aligner))

    def run_examples(queue, source, count):
        while (task := queue.next_task()) is not None:
            queue.finish_task(task, spoken_example_files.write_example(source, task))

    monkeypatch.setattr(align_corpus, "_run_workers", run_aligner)
    monkeypatch.setattr(spoken_example_files, "_run_workers", run_examples)
