"""The public functions of effects: render a recording, and check two recordings.

Input: arguments of any type. Output: a WAV file or a report, or an error of one sentence. Called by
`studio_api`. The docstrings of the inner functions are the documentation of the public API.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from audio_utils.errors import AudioError
from wavenet.config import StrictConfig, make_config
from wavenet.effects.pair_measurement import PairMeasures, measure_pair
from wavenet.effects.pair_report import PairReport, judge_pair
from wavenet.errors import ConditionError
from wavenet.ui.effects.effect_choices import choose_effect
from wavenet.ui.effects.render_job import (
    CLIP_SUBTYPE,
    RenderResult,
    make_chain_settings,
    make_render_job,
)
from wavenet.ui.page_text import convert_user_errors
from wavenet.ui.server.uploads import read_upload, upload_path
from wavenet.ui.turns import Turns
from wavenet.user_input.typed_numbers import parse_number

MAX_PAIR_SECONDS = 600.0


class KnobValues(StrictConfig):
    """Values of knobs by name."""

    knobs: dict[str, str | int | float]


Function = Callable[..., dict[str, Any]]
SaveFile = Callable[..., dict[str, Any]]  # (name, waveform, sample rate, subtype) -> its answer


def make_apply_effect(root: Path, turns: Turns, save_file: SaveFile) -> Function:
    """Return the function `apply_effect` for a folder of checkpoints."""

    def apply_effect(
        recording: gr.FileData,
        effect: str = "overdrive",
        model: gr.FileData | None = None,
        knobs: dict[str, float | str] | None = None,
        input_gain_db: float | str = 0.0,
        output_db: float | str = 0.0,
        mix: float | str = 1.0,
        oversampling: int | str = 1,
        cabinet: gr.FileData | None = None,
        remove_offset: bool = False,
    ) -> dict[str, Any]:
        """Render a dry recording through an amplifier or effect and return it as a WAV file.

        Args:
            recording: an audio file, mono or stereo, at most 120 s.
            effect: name of a trained effect; not used with a model.
            model: a .nam file, or a JSON file of PedalNetRT.
            knobs: values from 0 to 1 by name, such as {"gain": 0.6}; default: those of the effect.
            input_gain_db: before the effect, dB.
            output_db: gain of the output, dB.
            mix: from 0, only the dry sound, to 1, only the wet sound.
            oversampling: 1, 2 or 4.
            cabinet: an impulse response, which is scaled to unit energy.
            remove_offset: whether a high-pass at 5 Hz removes an offset (DC) of the effect.
        Returns:
            The WAV file, 24 bits; it has the length and the rate of the recording.
        """
        with convert_user_errors():
            chosen = choose_effect(root, effect, None if model is None else upload_path(model))
            given = make_config(KnobValues, "settings", knobs=knobs or {}).knobs
            values = {
                name: float(parse_number(value, f"the knob {name}"))
                for name, value in given.items()
            }
            nam = chosen.loaded.model_at(values)
            settings = make_chain_settings(
                parse_number(input_gain_db, "input_gain_db"),
                parse_number(output_db, "output_db"),
                parse_number(mix, "mix"),
                parse_number(oversampling, "oversampling", int),
                remove_offset,
            )
            response = None if cabinet is None else upload_path(cabinet)
            source = upload_path(recording)
            setting = {**chosen.knobs, **values}
            job = make_render_job(chosen.name, nam, setting, settings, source, response)
            with turns.turn():
                wet = RenderResult(job).complete().wet
            return save_file(job.file_name, torch.from_numpy(wet), job.sample_rate, CLIP_SUBTYPE)

    return apply_effect


def make_check_effect_recordings() -> Function:
    """Return the function `check_effect_recordings`."""

    def check_effect_recordings(dry: gr.FileData, wet: gr.FileData) -> dict[str, Any]:
        """Check a dry and a wet recording before an effect is trained on them.

        Args:
            dry: what was played into the effect, at most 600 s; mixed to mono.
            wet: what came out of it.
        Returns:
            The verdict (pass, warn or fail), the latency in samples, and all checks with their
            figures and sentences.
        """
        with convert_user_errors():
            _, report = measure_uploads(upload_path(dry), upload_path(wet))
            return _without_infinities(report.as_json())

    return check_effect_recordings


def measure_uploads(dry_path: str, wet_path: str) -> tuple[PairMeasures, PairReport]:
    """Measure and judge two uploaded recordings, both at the rate of the dry one.

    Raises:
        AudioError: a file cannot be read; the message has its name, not its path.
        ConditionError: both are the same file.
    """
    if dry_path == wet_path:
        raise ConditionError("dry and wet are the same file; expected two recordings")
    dry = read_upload(dry_path, None, MAX_PAIR_SECONDS, warn=False)
    wet = read_upload(wet_path, dry.sample_rate, MAX_PAIR_SECONDS, warn=False)
    if not dry.waveform.numel() or not wet.waveform.numel():
        raise AudioError("a recording has no samples; expected two recordings of some minutes.")
    measures = measure_pair(dry.waveform.numpy(), wet.waveform.numpy(), dry.sample_rate)
    return measures, judge_pair(measures, wet.original_rate)


def _without_infinities(value: Any) -> Any:
    """Return a document whose numbers JSON has; others are null."""
    if isinstance(value, dict):
        return {str(key): _without_infinities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinities(item) for item in value]
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
