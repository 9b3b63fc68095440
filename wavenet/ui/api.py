"""The public functions, for programs ("Use via API" in the footer) and as tools of an MCP server.

Values from anywhere enter, of any type; a WAV file or numbers leave, or one sentence. Caller: the
studio.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from audio_utils import io
from wavenet.checkpoint import Checkpoint
from wavenet.config import StrictConfig, make_config
from wavenet.errors import ConditionError
from wavenet.likelihood.score import score as score_waveform
from wavenet.ui import jobs, sounds
from wavenet.ui.controls import MODEL_QUEUE, SIGNAL_QUEUE
from wavenet.ui.take import match
from wavenet.ui.uploads import uploaded

Function = Callable[..., dict[str, Any]]


class Judge(StrictConfig):
    """What is to score a recording."""

    checkpoint: str
    labels: dict[str, str | float]


class Order(jobs.Wish):
    """What is to be made, and by which checkpoint.

    Attributes:
        with_prompt: whether the file begins with what is continued.
        match: whether a clip made from mel frames is filtered until it has them.
    """

    checkpoint: str
    with_prompt: bool = True
    match: bool = True


def publish(root: Path) -> None:
    """Let programs call the functions, on the page that is being built.

    Args:
        root: folder of checkpoint folders.
    """
    for name, function, queue in (
        ("generate", make_generate(root), MODEL_QUEUE),
        ("continue", make_continue(root), MODEL_QUEUE),
        ("vocode", make_vocode(root), MODEL_QUEUE),
        ("analyse", make_analyse(), SIGNAL_QUEUE),
        ("score", make_score(root), MODEL_QUEUE),
    ):
        # MCP names a tool after its function, and `continue` is a word of Python.
        function.__name__ = name
        gr.api(function, api_name=name, **queue)  # type: ignore[attr-defined]


def make_generate(root: Path) -> Function:
    """Make the function `generate` for a folder of checkpoints."""

    def generate(
        checkpoint: str = "digits",
        labels: dict[str, str] | None = None,
        seconds: float = 1.0,
        seed: int = -1,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> dict[str, Any]:
        """Generate one clip with a WaveNet and return it as a lossless WAV file.

        Args:
            checkpoint: name of the checkpoint.
            labels: one for each of its label sets, such as {"digit": "7", "speaker": "jackson"}.
            seconds: length, above 0, at most 30.
            seed: the same seed gives the same audio; -1 draws one, which the file's name tells.
            temperature: above 0; below 1 is calmer; the checkpoint's own if left out.
            top_k: draw from the k likeliest codes; 0 is off; the checkpoint's own if left out.
            top_p: draw from the likeliest codes of this share; 1 is off; else the checkpoint's own.
        Returns:
            The WAV file.
        """
        with jobs.shown_errors():
            sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
            order = _order(checkpoint, labels, seconds=seconds, seed=seed, **sampling)
            return _saved(jobs.make_job(_writer(root, order), order))

    return generate


def make_continue(root: Path) -> Function:
    """Make the function `continue` for a folder of checkpoints."""

    def go_on(
        recording: gr.FileData,
        checkpoint: str = "digits",
        labels: dict[str, str] | None = None,
        seconds: float = 1.0,
        seed: int = -1,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        with_prompt: bool = True,
    ) -> dict[str, Any]:
        """Continue a recording with a WaveNet and return a lossless WAV file.

        Args:
            recording: WAV, FLAC, OGG or MP3, at most 120 s, mixed to one channel and resampled.
            checkpoint: name of the checkpoint.
            labels: one for each of its label sets, such as {"digit": "7", "speaker": "jackson"}.
            seconds: length of what is added, above 0, at most 30.
            seed: the same seed gives the same audio; -1 draws one, which the file's name tells.
            temperature: above 0; below 1 is calmer; the checkpoint's own if left out.
            top_k: draw from the k likeliest codes; 0 is off; the checkpoint's own if left out.
            top_p: draw from the likeliest codes of this share; 1 is off; else the checkpoint's own.
            with_prompt: whether the file begins with the recording.
        Returns:
            The WAV file.
        """
        with jobs.shown_errors():
            sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
            more = {"seconds": seconds, "seed": seed, "with_prompt": with_prompt}
            order = _order(checkpoint, labels, **more, **sampling)
            prompt = uploaded(recording)
            loaded = _writer(root, order)
            job = jobs.make_job(loaded, order, prompt=prompt, with_prompt=order.with_prompt)
            return _saved(job)

    return go_on


def make_vocode(root: Path) -> Function:
    """Make the function `vocode` for a folder of checkpoints."""

    def vocode(
        recording: gr.FileData,
        checkpoint: str = "vocoder",
        labels: dict[str, str] | None = None,
        seed: int = -1,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        match: bool = True,
    ) -> dict[str, Any]:
        """Say a recording again with a WaveNet vocoder, from its features alone, as a WAV file.

        Args:
            recording: WAV, FLAC, OGG or MP3, at most 30 s, mixed to one channel and resampled.
            checkpoint: name of a checkpoint that takes frames, such as mel.
            labels: one for each of its label sets; the vocoder that comes with the studio has none.
            seed: the same seed gives the same audio; -1 draws one, which the file's name tells.
            temperature: above 0; below 1 is calmer; the checkpoint's own if left out.
            top_k: draw from the k likeliest codes; 0 is off; the checkpoint's own if left out.
            top_p: draw from the likeliest codes of this share; 1 is off; else the checkpoint's own.
            match: whether a clip made from mel frames is filtered until it has them.
        Returns:
            The WAV file, as long as the recording.
        """
        with jobs.shown_errors():
            sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
            # The length is that of the recording.
            order = _order(checkpoint, labels, seconds=1.0, seed=seed, match=match, **sampling)
            source = uploaded(recording)
            loaded = jobs.load_named(root, order.checkpoint)
            if not loaded.config.model.locals:
                raise ConditionError(
                    f"{order.checkpoint} takes no frames; vocode needs a checkpoint that does"
                )
            job = jobs.make_job(loaded, order, source=source)
            return _saved(job, order.match)

    return vocode


def make_analyse() -> Function:
    """Make the function `analyse`."""

    def analyse(recording: gr.FileData) -> dict[str, Any]:
        """Measure a recording: levels, loudness, clipping, silence, pitch, what 8 bits do to it.

        Args:
            recording: WAV, FLAC, OGG or MP3, at most 120 s, mixed to one channel.
        Returns:
            Numbers by name; null where there is none, as the level of silence.
        """
        with jobs.shown_errors():
            sound = sounds.read_sound(uploaded(recording))
            return sounds.signal_numbers(sound) | sounds.pitch_numbers(sound)

    return analyse


def make_score(root: Path) -> Function:
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
            judge = make_config(Judge, "settings", checkpoint=checkpoint, labels=labels or {})
            loaded = jobs.load_named(root, judge.checkpoint)
            sound = sounds.read_sound(uploaded(recording), loaded.config.audio.sample_rate)
            result = score_waveform(loaded, sound.waveform, judge.labels)
            return sounds.score_numbers(loaded, sound, result) | sounds.surprise(sound, result)

    return score


def _order(checkpoint: Any, labels: Any, **settings: Any) -> Order:
    return make_config(Order, "settings", checkpoint=checkpoint, labels=labels or {}, **settings)


def _writer(root: Path, order: Order) -> Checkpoint:
    """Load a checkpoint that writes by itself."""
    loaded = jobs.load_named(root, order.checkpoint)
    if loaded.config.model.locals:
        raise ConditionError(f"{order.checkpoint} says a recording again: call vocode with one")
    return loaded


def _saved(job: jobs.Job, matched: bool = False) -> dict[str, Any]:
    """Make the first clip, and give it as a file of the folder that the app serves."""
    waveform = job.waveform()
    if matched:
        found = match(job, waveform)
        waveform = waveform if found is None else found
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / job.file_names[0]
        io.write(path, waveform, job.rate)
        # Another path would be text to the client.
        return gr.FileData(path=save_file_to_cache(path, get_upload_folder())).model_dump()
