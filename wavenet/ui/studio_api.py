"""The public functions of the studio, for programs ("Use via API" in the footer) and MCP tools.

Input: arguments of any type. Output: a WAV file or numbers, or an error of one sentence. Called by
`studio_app`. The docstrings of the inner functions are the documentation of the public API.
"""

import inspect
import re
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from torch import Tensor

from audio_utils import io
from wavenet.checkpoint import Checkpoint
from wavenet.config import StrictConfig, make_config
from wavenet.detection.events import DEFAULT_FALSE_ALARMS, find_events
from wavenet.errors import ConditionError
from wavenet.likelihood.score import SMALL_WINDOW
from wavenet.likelihood.score import score as score_waveform
from wavenet.ui.analyse.recording_measures import (
    pitch_numbers,
    read_recording,
    score_numbers,
    signal_numbers,
    surprise_numbers,
)
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.compress.compress_api import make_compress, make_decompress
from wavenet.ui.effects.effect_api import make_apply_effect, make_check_effect_recordings
from wavenet.ui.generate.generation_job import (
    NUMBER_TYPES,
    GenerateSettings,
    GenerationJob,
    make_generation_job,
    match_mel,
)
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors
from wavenet.ui.server.uploads import upload_path
from wavenet.ui.speak.speech_job import SpeechResult, SpeechSettings, make_speech_job
from wavenet.ui.turns import Turns
from wavenet.user_input.typed_numbers import parse_number

Function = Callable[..., dict[str, Any]]
# Also the type in the schema of the API, in which "number" includes whole numbers.
ConditionValues = dict[str, str | float]


class ScoreSettings(StrictConfig):
    """The model that scores a recording, and its condition values by name."""

    checkpoint: str
    conditions: dict[str, str | int | float]


class ApiSettings(GenerateSettings):
    """The settings of one clip.

    Attributes:
        with_prompt: whether the file begins with the prompt.
        mel_matching: whether a clip made from mel frames is filtered until its mel frames match
            them.
    """

    checkpoint: str
    with_prompt: bool = True
    mel_matching: bool = True


def register_api(page: Page) -> None:
    """Add the public functions to the app that is being built.

    Args:
        page: its folder of checkpoints, and the turns that jobs of the page and of programs take.
    """
    for name, function in make_functions(page.root, page.turns).items():
        # Jobs of a model wait in `Turns`, not in a queue of Gradio.
        limit = 1 if name in ("analyse", "check_effect_recordings") else None
        gr.api(function, api_name=name, concurrency_limit=limit)  # type: ignore[attr-defined]


def make_functions(root: Path, turns: Turns) -> dict[str, Function]:
    """Return the public functions by name.

    Each has its name, and a docstring without line breaks inside the description of an argument.

    Args:
        root: folder of checkpoints.
        turns: of the jobs that run a model.
    """
    shared = root, turns
    functions = {
        "generate": make_generate(*shared),
        "continue": make_continue(*shared),
        "vocode": make_vocode(*shared),
        "speak": make_speak(*shared),
        "analyse": make_analyse(),
        "score": make_score(*shared),
        "apply_effect": make_apply_effect(*shared, _save_file),
        "check_effect_recordings": make_check_effect_recordings(),
        "find_improbable_places": make_find_improbable_places(*shared),
        "compress": make_compress(turns, _keep_file),
        "decompress": make_decompress(turns, _keep_file),
    }
    for name, function in functions.items():
        # MCP names a tool after its function, and `continue` is a keyword of Python.
        function.__name__ = name
        function.__doc__ = _one_line_per_argument(function)
    return functions


def _one_line_per_argument(function: Function) -> str:
    """Return a docstring without line breaks in descriptions; gradio reads only first lines."""
    inside = r"\n {8,}|(?<!:)\n {4}(?!\w+: )"  # not before the next argument
    return re.sub(inside, " ", inspect.getdoc(function) or "")


def make_generate(root: Path, turns: Turns) -> Function:
    """Return the function `generate` for a folder of checkpoints."""

    def generate(
        checkpoint: str = "digits",
        conditions: ConditionValues | None = None,
        seconds: float | str | None = None,
        seed: int | str = -1,
        temperature: float | str | None = None,
        top_k: int | str | None = None,
        top_p: float | str | None = None,
        guidance: float | str | None = None,
    ) -> dict[str, Any]:
        """Generate an audio clip with a WaveNet and return it as a lossless WAV file.

        Args:
            checkpoint: name of the checkpoint.
            conditions: a value for each condition, such as {"digit": "7", "speaker": "jackson"};
                optional ones may be omitted.
            seconds: length of the clip, at least 0.001, at most 30; default: the checkpoint's.
            seed: the same seed produces the same audio; -1 uses a random seed, which the name of
                the returned file contains.
            temperature: above 0; below 1 is less random; default: the checkpoint's.
            top_k: sample from the k most likely codes; 0 is off; default: the checkpoint's.
            top_p: sample from the smallest set of most likely codes whose total probability is at
                least p; 1 is off; default: the checkpoint's.
            guidance: strength of the conditions, 1 is off; above 1 only if the checkpoint was
                trained with condition dropout; default: the checkpoint's.
        Returns:
            The WAV file.
        """
        with convert_user_errors():
            sampling = temperature, top_k, top_p, guidance
            settings = _settings(checkpoint, conditions, sampling, seconds=seconds, seed=seed)
            job = make_generation_job(_load_generator(root, settings), settings)
            return _save_clip(job, turns)

    return generate


def make_continue(root: Path, turns: Turns) -> Function:
    """Return the function `continue` for a folder of checkpoints."""

    def continue_recording(
        recording: gr.FileData,
        checkpoint: str = "digits",
        conditions: ConditionValues | None = None,
        seconds: float | str | None = None,
        seed: int | str = -1,
        temperature: float | str | None = None,
        top_k: int | str | None = None,
        top_p: float | str | None = None,
        guidance: float | str | None = None,
        with_prompt: bool = True,
    ) -> dict[str, Any]:
        """Continue a recording with a WaveNet and return the result as a lossless WAV file.

        Args:
            recording: an audio file, at most 120 s; mixed to mono and resampled.
            checkpoint: name of the checkpoint.
            conditions: a value for each condition, such as {"digit": "7", "speaker": "jackson"};
                optional ones may be omitted.
            seconds: length of the continuation, at least 0.001, at most 30; default: the
                checkpoint's.
            seed: the same seed produces the same audio; -1 uses a random seed, which the name of
                the returned file contains.
            temperature: above 0; below 1 is less random; default: the checkpoint's.
            top_k: sample from the k most likely codes; 0 is off; default: the checkpoint's.
            top_p: sample from the smallest set of most likely codes whose total probability is at
                least p; 1 is off; default: the checkpoint's.
            guidance: strength of the conditions, 1 is off; above 1 only if the checkpoint was
                trained with condition dropout; default: the checkpoint's.
            with_prompt: whether the file begins with the recording.
        Returns:
            The WAV file.
        """
        with convert_user_errors():
            sampling = temperature, top_k, top_p, guidance
            others = {"seconds": seconds, "seed": seed, "with_prompt": with_prompt}
            settings = _settings(checkpoint, conditions, sampling, **others)
            prompt, with_prompt = upload_path(recording), settings.with_prompt
            loaded = _load_generator(root, settings)
            job = make_generation_job(loaded, settings, "auto", prompt, with_prompt)
            return _save_clip(job, turns)

    return continue_recording


def make_vocode(root: Path, turns: Turns) -> Function:
    """Return the function `vocode` for a folder of checkpoints."""

    def vocode(
        recording: gr.FileData,
        checkpoint: str = "vocoder",
        conditions: ConditionValues | None = None,
        seed: int | str = -1,
        temperature: float | str | None = None,
        top_k: int | str | None = None,
        top_p: float | str | None = None,
        guidance: float | str | None = None,
        mel_matching: bool = True,
    ) -> dict[str, Any]:
        """Resynthesise a recording from its frame features with a WaveNet vocoder, as a WAV file.

        Args:
            recording: an audio file, at most 30 s; mixed to mono and resampled.
            checkpoint: name of a checkpoint with local conditions, such as mel frames.
            conditions: a value for each label and global condition; the studio's vocoder has none.
            seed: the same seed produces the same audio; -1 uses a random seed, which the name of
                the returned file contains.
            temperature: above 0; below 1 is less random; default: the checkpoint's.
            top_k: sample from the k most likely codes; 0 is off; default: the checkpoint's.
            top_p: sample from the smallest set of most likely codes whose total probability is at
                least p; 1 is off; default: the checkpoint's.
            guidance: strength of the conditions, 1 is off; above 1 only if the checkpoint was
                trained with condition dropout; default: the checkpoint's.
            mel_matching: whether the clip is filtered until its mel frames match those of the
                recording.
        Returns:
            The WAV file; it has the length of the recording.
        """
        with convert_user_errors():
            sampling = temperature, top_k, top_p, guidance
            others = {"seed": seed, "mel_matching": mel_matching}
            settings = _settings(checkpoint, conditions, sampling, **others)
            source = upload_path(recording)
            loaded = load_checkpoint(root, settings.checkpoint)
            if not loaded.config.model.locals:
                raise ConditionError(
                    f"{settings.checkpoint} has no local conditions; vocode needs a checkpoint "
                    "with local conditions"
                )
            job = make_generation_job(loaded, settings, source=source)
            return _save_clip(job, turns, settings.mel_matching)

    return vocode


def make_speak(root: Path, turns: Turns) -> Function:
    """Return the function `speak` for a folder of checkpoints."""

    def speak(
        text: str,
        voice: str = "kathleen",
        speaker: str | None = None,
        speed: float | str = 1.0,
        pitch: float | str = 0.0,
        loudness: float | str = 0.0,
        melody: float | str = 1.0,
        seed: int | str = -1,
        temperature: float | str | None = None,
        pronunciations: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Speak English text with a voice and return the sound as a lossless WAV file.

        Args:
            text: up to 3,000 characters; [[HH AH0 L OW1]] in it is a pronunciation.
            voice: name of the voice.
            speaker: of the voice; default: its first.
            speed: 0.25 to 4; 2 is twice as fast.
            pitch: semitones up or down, at most 12.
            loudness: dB up or down, at most 12.
            melody: movement of the pitch, at most 3; 0 is monotonous.
            seed: the same seed produces the same audio; -1 uses a random seed, which the name of
                the returned file contains.
            temperature: of the WaveNet, above 0; default: that of the voice.
            pronunciations: ARPAbet phones by word, such as {"GIF": "JH IH1 F"}.
        Returns:
            The WAV file.
        """
        with convert_user_errors():
            numbers: dict[str, Any] = {
                "speed": speed,
                "pitch": pitch,
                "loudness": loudness,
                "melody": melody,
            }
            numbers |= {"seed": seed, "temperature": temperature}
            values: dict[str, Any] = {"text": text, "speaker": speaker, **numbers}
            for name, number in numbers.items():
                if number is not None:
                    kind = int if name == "seed" else float
                    values[name] = parse_number(number, f"settings: {name}", kind)
            values["pronunciations"] = pronunciations or {}
            job = make_speech_job(root, voice, make_config(SpeechSettings, "settings", **values))
            with turns.turn():
                waveform = SpeechResult(job).complete().waveform
            return _save_file(job.file_name, waveform, job.sample_rate)

    return speak


def make_analyse() -> Function:
    """Return the function `analyse`."""

    def analyse(recording: gr.FileData) -> dict[str, Any]:
        """Measure a recording: levels, loudness, clipping, silence, pitch, effect of 8-bit mu-law.

        Args:
            recording: an audio file, at most 120 s; mixed to mono.
        Returns:
            Numbers by name; null if undefined, such as the level of silence.
        """
        with convert_user_errors():
            measured = read_recording(upload_path(recording))
            return signal_numbers(measured) | pitch_numbers(measured)

    return analyse


def make_score(root: Path, turns: Turns) -> Function:
    """Return the function `score` for a folder of checkpoints."""

    def score(
        recording: gr.FileData,
        checkpoint: str = "digits",
        conditions: ConditionValues | None = None,
    ) -> dict[str, Any]:
        """Score a recording with a WaveNet: bits per sample, lower is more likely.

        Args:
            recording: an audio file, at most 120 s; mixed to mono and resampled.
            checkpoint: name of the checkpoint.
            conditions: a value for each condition, such as {"digit": "7", "speaker": "jackson"};
                optional ones may be omitted.
        Returns:
            Numbers by name; "mean_surprise" lists the mean bits per sample of each 10 ms,
            "interval_seconds" is the exact length of these intervals.
        """
        with convert_user_errors():
            values = {"checkpoint": checkpoint, "conditions": conditions or {}}
            settings = make_config(ScoreSettings, "settings", **values)
            loaded = load_checkpoint(root, settings.checkpoint)
            rate = loaded.config.audio.sample_rate
            measured = read_recording(upload_path(recording), rate)
            with turns.turn():
                result = score_waveform(
                    loaded, measured.waveform, settings.conditions, window=SMALL_WINDOW
                )
            return score_numbers(loaded, measured, result) | surprise_numbers(measured, result)

    return score


def make_find_improbable_places(root: Path, turns: Turns) -> Function:
    """Return the function `find_improbable_places` for a folder of checkpoints."""

    def find_improbable_places(
        recording: gr.FileData,
        checkpoint: str = "digits",
        conditions: ConditionValues | None = None,
        false_alarms_per_hour: float | str = DEFAULT_FALSE_ALARMS,
    ) -> dict[str, Any]:
        """Find clicks, dropouts, splices, foreign sounds and other improbable places.

        Args:
            recording: an audio file, at most 120 s; mixed to mono and resampled.
            checkpoint: name of a checkpoint with a calibration (surprise.json), such as digits.
            conditions: a value for each condition, such as {"digit": "7", "speaker": "jackson"};
                optional ones may be omitted.
            false_alarms_per_hour: accepted number of events in an hour of clean sound, 0.001 to
                1800.
        Returns:
            "events": start and end in seconds, "peak_surprise", the surprise beyond the expected
            one in bits per sample, "ratio", the same relative to the threshold, and "window", the
            length of the window in seconds; "seconds" and "sample_rate" of the recording.
        """
        with convert_user_errors():
            values = {"checkpoint": checkpoint, "conditions": conditions or {}}
            settings = make_config(ScoreSettings, "settings", **values)
            rate = float(parse_number(false_alarms_per_hour, "false_alarms_per_hour"))
            loaded = load_checkpoint(root, settings.checkpoint)
            measured = read_recording(upload_path(recording), loaded.sample_rate)
            with turns.turn():
                events = find_events(loaded, measured.waveform, rate, settings.conditions)
            return {
                "events": [asdict(event) for event in events],
                "seconds": measured.seconds,
                "sample_rate": measured.sample_rate,
            }

    return find_improbable_places


def _settings(checkpoint: Any, conditions: Any, sampling: Any, **others: Any) -> ApiSettings:
    """Check the settings of one clip; a number may be text or, if it is whole, end in .0.

    `sampling` are temperature, top_k, top_p and guidance.
    """
    others |= zip(("temperature", "top_k", "top_p", "guidance"), sampling, strict=True)
    for name in NUMBER_TYPES.keys() & others.keys():
        if others[name] is not None:
            others[name] = parse_number(others[name], f"settings: {name}", NUMBER_TYPES[name])
    others |= {"checkpoint": checkpoint, "conditions": conditions or {}}
    return make_config(ApiSettings, "settings", **others)


def _load_generator(root: Path, settings: ApiSettings) -> Checkpoint:
    """Load a checkpoint that generates without a recording."""
    loaded = load_checkpoint(root, settings.checkpoint)
    if loaded.config.model.locals:
        raise ConditionError(
            f"{settings.checkpoint} resynthesises a recording; call vocode with a recording"
        )
    return loaded


def _save_clip(job: GenerationJob, turns: Turns, mel_matching: bool = False) -> dict[str, Any]:
    """Generate the first clip in its turn and save it in the folder that the app serves."""
    with turns.turn():
        waveform = job.first_waveform()
        matched = match_mel(job, waveform) if mel_matching else None
    waveform = waveform if matched is None else matched
    return _save_file(job.file_names[0], waveform, job.sample_rate)


def _save_file(
    name: str, waveform: Tensor, sample_rate: int, subtype: str = "PCM_16"
) -> dict[str, Any]:
    """Save a waveform (T,) or (channels, T) in the folder that the app serves."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        io.write(path, waveform, sample_rate, subtype)
        return _keep_file(path)


def _keep_file(path: Path) -> dict[str, Any]:
    """Copy a file into the folder that the app serves, and return it for Gradio."""
    # Gradio clients recognise a file only by this type; a path alone would be text.
    return gr.FileData(path=save_file_to_cache(path, get_upload_folder())).model_dump()
