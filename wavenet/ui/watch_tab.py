"""The Watch sampling tab: a clip step by step, with the prediction before every sample.

The layout comes first, then the callbacks: one press of Watch generates a clip, or reads a
recording, and inspects some of its steps. Input: a folder of checkpoints. Output: widgets with
their events, and messages for `step_viewer.js`. Called by `studio_app`.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from pydantic import Field

from audio_utils.errors import AudioError
from wavenet.checkpoint import Checkpoint
from wavenet.config import StrictConfig, make_config
from wavenet.errors import ConditionError, WaveNetError
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest, samples_from_seconds
from wavenet.likelihood.step_view import MAX_STEPS, draw_first_codes, view_steps
from wavenet.model.conditioning import ConditionValue
from wavenet.model.frame_features import compute_frame_features
from wavenet.model.wavenet import require_wavenet
from wavenet.ui.checkpoint_controls import (
    MAX_LABELS,
    MAX_NUMBERS,
    condition_values_of_controls,
    show_checkpoint,
)
from wavenet.ui.checkpoint_library import list_checkpoints, load_checkpoint
from wavenet.ui.event_handling import MODEL_QUEUE, pace_chunks
from wavenet.ui.generate.generation_job import MAX_SECONDS, MAX_SEED
from wavenet.ui.page_text import convert_user_errors, error_sentence
from wavenet.ui.server.uploads import read_upload
from wavenet.ui.step_viewer import (
    ELEMENT_ID,
    busy_message,
    error_message,
    make_step_viewer,
    max_steps,
    steps_message,
)

BUTTON_ID = "watch-button"
# Presses the button when the tab is opened for the first time, to show an example.
OPEN_JS = f"""async () => {{
  const button = () => document.getElementById('{BUTTON_ID}');
  const isEmpty = () => document.querySelector('#{ELEMENT_ID} [data-state="empty"]');
  for (let n = 0; n < 400 && !(isEmpty() && button() && !button().disabled); n += 1) {{
    if (document.querySelector('#{ELEMENT_ID} .step-viewer') && !isEmpty()) return;
    await new Promise((done) => setTimeout(done, 50));
  }}
  if (isEmpty() && button() && !button().disabled) button().click();
}}"""
# Reports that an event failed on the server.
FAIL_JS = f"() => document.getElementById('{ELEMENT_ID}').stepViewer.fail()"
Message = dict[str, Any]


class StepSettings(StrictConfig):
    """The steps to show, and their clip.

    Attributes:
        seconds: length of the clip.
        seed: seed of the clip.
        start: time of the first step, s.
        steps: number of steps; fewer if the clip ends before.
    """

    seconds: float = Field(gt=0, le=MAX_SECONDS)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    start: float = Field(default=0.0, ge=0, le=MAX_SECONDS)
    steps: int = Field(default=100, ge=1, le=MAX_STEPS)

    def sample_range(self, samples: int, sample_rate: int) -> tuple[int, int]:
        """Return the first sample of the steps, and the sample after the last.

        Args:
            samples: length of the clip.
            sample_rate: Hz.
        Raises:
            ConditionError: the clip ends before the start.
        """
        first = round(self.start * sample_rate)
        if first >= samples:
            raise ConditionError(
                f"the start, {self.start:g} s, must be before the end at "
                f"{samples / sample_rate:g} s"
            )
        return first, min(first + self.steps, samples)


def tab(root: Path, tab_item: gr.Tab) -> None:
    """Build the tab and wire its events.

    Args:
        root: folder of checkpoint folders.
        tab_item: the tab itself; its first opening shows an example.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            inputs, about, watch = _controls(root)
        with gr.Column(scale=4, min_width=300):
            step_view = make_step_viewer()
    checkpoint, seconds = inputs[:2]
    dependent = [about, seconds, *inputs[-MAX_NUMBERS - MAX_LABELS :]]
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    unqueued: dict[str, Any] = {"queue": False, **private}
    event = watch.click(partial(run_watch, root), inputs, step_view, **MODEL_QUEUE, **private)
    event.failure(None, js=FAIL_JS, **unqueued)
    checkpoint.input(partial(show_controls, root), checkpoint, dependent, **unqueued)
    page = gr.context.Context.root_block
    assert page is not None
    loaded = page.load(partial(show_page, root), None, [checkpoint, *dependent], **unqueued)
    # The button is enabled only now: before this event, the dropdowns have no labels.
    loaded.then(lambda: gr.update(interactive=True), None, watch, **unqueued)
    tab_item.select(None, js=OPEN_JS, **private)


def _controls(root: Path) -> tuple[list[Any], gr.HTML, gr.Button]:
    """Build the inputs, in the order of the parameters of `run_watch`."""
    names = list_checkpoints(root)
    checkpoint = gr.Dropdown(
        names, value=names[0] if names else None, label="Checkpoint", elem_id="watch-checkpoint"
    )
    about = gr.HTML(elem_classes="about")
    with gr.Row():
        labels = [gr.Dropdown(visible=False, min_width=120) for _ in range(MAX_LABELS)]
        numbers = [gr.Number(visible=False, min_width=120) for _ in range(MAX_NUMBERS)]
    with gr.Row():
        seconds = gr.Number(1.0, label="Length (s)", step=0.1, min_width=120)
        seed = gr.Number(0, label="Seed", precision=0, min_width=120, elem_id="watch-seed")
    with gr.Row():
        start = gr.Number(0.05, label="Start (s)", step=0.01, min_width=120, elem_id="watch-start")
        steps = gr.Number(
            200,
            label=f"Steps (up to {MAX_STEPS})",
            precision=0,
            min_width=120,
            elem_id="watch-steps",
        )
    watch = gr.Button("Watch", variant="primary", elem_id=BUTTON_ID, interactive=False)
    with gr.Accordion("Predict a recording", open=False):
        recording = gr.Audio(
            type="filepath",
            sources=["upload", "microphone"],
            format=None,
            buttons=["download"],
            label=f"Recording, up to {MAX_SECONDS:.0f} s",
            elem_id="watch-recording",
        )
        gr.HTML(
            "<p class='note'>The model predicts each sample of the recording from the previous "
            "samples.</p>"
        )
    single = [checkpoint, seconds, seed, start, steps, recording]
    return [*single, *numbers, *labels], about, watch


def show_page(root: Path) -> list[Any]:
    """List the current checkpoints, and adapt the controls to the first one."""
    names = list_checkpoints(root)
    first = names[0] if names else None
    return [gr.update(choices=names, value=first), *show_controls(root, first)]


def show_controls(root: Path, name: str | None) -> list[Any]:
    """Adapt the controls to a checkpoint: its description, length, numbers and labels."""
    about, seconds, *others = show_checkpoint(root, name)
    return [about, seconds, *others[-MAX_NUMBERS - MAX_LABELS :]]


def run_watch(
    root: Path,
    name: str | None,
    seconds: float | None,
    seed: int | None,
    start: float | None,
    steps: int | None,
    recording: str | None,
    *conditions: Any,
) -> Iterator[Message]:
    """Check the values of the controls, then inspect the steps.

    Args:
        root: folder of checkpoint folders.
        name: name of the checkpoint.
        seconds: length of a generated clip.
        seed: seed of a generated clip.
        start: time of the first step, s.
        steps: number of steps.
        recording: path of an upload to predict; None generates a clip.
        conditions: values of number fields and dropdowns, see `condition_values_of_controls`.
    Yields:
        Messages for `step_viewer.js`.
    Raises:
        gr.Error: a setting is invalid; the last message shows the same sentence.
    """
    try:
        checkpoint = load_checkpoint(root, name)
        values = condition_values_of_controls(checkpoint.config.model, conditions)
        needs_recording = bool(checkpoint.config.model.locals)
        # A recording determines the length; the length field may be hidden, with any value.
        length_from_recording = needs_recording or recording is not None
        length = checkpoint.config.default_seconds if length_from_recording else seconds
        settings = check_settings(checkpoint, seconds=length, seed=seed, start=start, steps=steps)
        if recording is None:
            yield from watch_generation(checkpoint, settings, values)
        else:
            yield from watch_recording(checkpoint, settings, values, recording)
    except (WaveNetError, AudioError) as error:
        yield error_message(error_sentence(error))
        with convert_user_errors():
            raise


def check_settings(checkpoint: Checkpoint, **values: object) -> StepSettings:
    """Build the settings.

    Raises:
        ConfigError: a number is out of range.
        ConditionError: one message cannot contain so many steps of this model.
    """
    settings = make_config(StepSettings, "settings", **values)
    if settings.steps > (limit := max_steps(checkpoint, settings.steps)):
        raise ConditionError(
            f"the page shows at most {limit} steps of this model, found {settings.steps}"
        )
    return settings


def watch_generation(
    checkpoint: Checkpoint, settings: StepSettings, conditions: Mapping[str, ConditionValue]
) -> Iterator[Message]:
    """Generate a clip by plain sampling up to the last step, and inspect the steps.

    Raises:
        ModelUnsupported: the model is not a WaveNet.
        ConditionError: the model needs a recording, or does not have these conditions.
    """
    config, rate = checkpoint.config, checkpoint.config.audio.sample_rate
    require_wavenet(checkpoint.model, "Watch sampling")
    if config.model.locals:
        raise ConditionError(
            f"this model needs the {config.model.locals[0].name} frames of a recording; upload "
            "a recording under “Predict a recording”"
        )
    request = GenerationRequest(
        samples_from_seconds(settings.seconds, rate), conditions, settings.seed
    )
    first, end = settings.sample_range(request.samples, rate)
    yield busy_message("Generating the clip …")
    parts = []
    for part in pace_chunks(draw_first_codes(checkpoint, request, end)):
        parts.append(part)
        share = sum(map(len, parts)) / end
        yield busy_message(f"Generating the clip up to the last step: {share:.0%}")
    codes = torch.cat(parts)
    noise = uniform_noise(request.seed, request.noise_stream, first, end - first)
    title = _title(config.name, conditions, f"seed {settings.seed}")
    steps = view_steps(checkpoint, request, codes, first)
    yield steps_message(checkpoint, steps, codes, noise, title)


def watch_recording(
    checkpoint: Checkpoint,
    settings: StepSettings,
    conditions: Mapping[str, ConditionValue],
    path: str,
) -> Iterator[Message]:
    """Predict every sample of a recording from the previous samples, and inspect some steps.

    Raises:
        AudioError: the recording cannot be read.
        ConditionError: the recording is too long, or a condition of the model has no value.
    """
    yield busy_message("Reading the recording …")
    config, rate = checkpoint.config, checkpoint.config.audio.sample_rate
    waveform = read_upload(path, rate, MAX_SECONDS).waveform
    first, end = settings.sample_range(waveform.numel(), rate)
    frame_features = (
        compute_frame_features(config.model, rate, waveform) if config.model.locals else None
    )
    request = GenerationRequest(waveform.numel(), conditions, frame_features=frame_features)
    codes = checkpoint.codec.encode(waveform)[:end]
    title = _title(config.name, conditions, f"recording {Path(path).name}")
    steps = view_steps(checkpoint, request, codes, first)
    yield steps_message(checkpoint, steps, codes, None, title)


def _title(name: str, conditions: Mapping[str, ConditionValue], source: str) -> str:
    return ", ".join([name, *(f"{key} {value}" for key, value in conditions.items()), source])
