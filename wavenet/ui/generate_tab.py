"""The Generate tab: settings, streaming generation with a live player, files, plots, sharing.

The layout comes first, then the callbacks: one press of Generate checks the settings, streams audio
to the player, then shows files, plots and facts. Input: a folder of checkpoints. Output: widgets
with their events. Called by `studio_app`; `zerogpu` replaces `run_generation`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import takewhile
from pathlib import Path
from typing import Any

import gradio as gr
from torch import Tensor

from audio_utils import io, plots
from audio_utils.audio_formats import READABLE_FORMATS
from audio_utils.errors import AudioError
from wavenet.config import make_config
from wavenet.errors import ConditionError, WaveNetError
from wavenet.generation.generate import warm_up
from wavenet.generation.guard import Retry
from wavenet.ui.checkpoint_controls import (
    MAX_LABELS,
    MAX_NUMBERS,
    condition_values_of_controls,
    describe_checkpoint,
    show_checkpoint,
)
from wavenet.ui.checkpoint_library import list_checkpoints, load_checkpoint
from wavenet.ui.event_handling import MODEL_QUEUE, StopRequests, pace_chunks
from wavenet.ui.generation_job import (
    ENGINES,
    MAX_VARIANTS,
    GenerateSettings,
    GenerationJob,
    GenerationResult,
    default_seconds,
    make_generation_job,
    match_mel,
)
from wavenet.ui.hub_download import download_chosen, import_allowed, show_chosen
from wavenet.ui.live_player import (
    FAIL_JS,
    FIRST_CHUNK_SECONDS,
    START_JS,
    STOP_JS,
    chunk_message,
    end_message,
    make_player,
)
from wavenet.ui.page_text import convert_user_errors, error_sentence, fact_list
from wavenet.ui.share_settings import (
    format_command,
    format_json,
    format_link,
    read_link,
    resolve_link_conditions,
)
from wavenet.user_input.close_names import find_equal_name

# The first use on a machine compiles the engine.
PREPARING = "<p>Preparing the engine; the first time this needs about 15 s …</p>"
# Settings of a link that do not depend on the checkpoint.
LINK_FIELDS = ("seed", "variants")
MAX_PROBLEMS = 5  # of a link that the page shows
PLACEHOLDER = (
    "<p class='empty'>The audio file, its waveform, mel spectrogram, MFCC and surprise appear here "
    "after the last sample.</p>"
)
PLOTS = ("waveform", "mel", "mfcc", "surprise")
_AUDIOS = tuple(f"audio{n + 1}" for n in range(MAX_VARIANTS))
_SHARED = ("command", "settings", "link")
# Names of the outputs of a job, in the order of the event's outputs.
OUTPUTS = (
    "player",
    "summary",
    "used_seed",
    "results_column",
    *_AUDIOS,
    "matched",
    *PLOTS,
    *_SHARED,
)


@dataclass(frozen=True)
class Controls:
    """The inputs of a job, in the order of the parameters of `run_generation`."""

    job_number: gr.Number
    checkpoint: gr.Dropdown
    seconds: gr.Number
    seed: gr.Number
    variants: gr.Slider
    temperature: gr.Slider
    top_k: gr.Slider
    top_p: gr.Slider
    guidance: gr.Slider
    engine: gr.Dropdown
    prompt: gr.Audio
    with_prompt: gr.Checkbox
    source: gr.Audio
    numbers: list[gr.Number]
    labels: list[gr.Dropdown]
    prompt_section: gr.Accordion  # around the prompt; not an input

    def inputs(self) -> list[Any]:
        """All input widgets, the numbers and the label dropdowns last."""
        *single, numbers, labels, _ = vars(self).values()
        return [*single, *numbers, *labels]


def tab(root: Path) -> None:
    """Build the tab and wire its events.

    Args:
        root: folder of checkpoint folders.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            problems = gr.HTML(visible=False, elem_id="link-problems")
            about = gr.HTML(elem_classes="about", render=False)
            controls, generate, stop = _controls(root, about)
        with gr.Column(scale=3, min_width=300):
            results, reuse = _results()
    private: dict[str, Any] = {"api_visibility": "private"}
    unqueued: dict[str, Any] = {"queue": False, "show_progress": "hidden", **private}
    stop_requests = StopRequests()
    event = generate.click(
        partial(run_generation, root, stop_requests),
        controls.inputs(),
        [results[name] for name in OUTPUTS],
        js=START_JS,
        # The player shows the progress; Gradio's badge would cover the facts.
        show_progress="hidden",
        # The player disables the button during a job. The default trigger mode of Gradio would also
        # ignore the first press after Stop, until the server has answered.
        trigger_mode="multiple",
        **MODEL_QUEUE,
        **private,
    )
    event.failure(None, js=FAIL_JS, **unqueued)
    stop.click(
        stop_requests.add, controls.job_number, js=STOP_JS, trigger_mode="multiple", **unqueued
    )
    reuse.click(lambda seed: seed, results["used_seed"], controls.seed, **unqueued)
    shown = [about, controls.seconds, results["player"], controls.guidance, controls.source]
    shown += [controls.prompt_section, controls.temperature, controls.top_k, controls.top_p]
    shown += [*controls.numbers, *controls.labels]
    chosen = controls.checkpoint.input(
        partial(show_chosen, root), controls.checkpoint, shown, **unqueued
    )
    outputs = [controls.checkpoint, *shown]
    chosen.then(partial(download_chosen, root), controls.checkpoint, outputs, **unqueued)
    _wire_page_load(root, controls, about, shown, generate, problems)


def _wire_page_load(
    root: Path,
    controls: Controls,
    about: gr.HTML,
    shown: list[Any],
    generate: gr.Button,
    problems: gr.HTML,
) -> None:
    """Fill the page when it opens: from its link, or with the first checkpoint."""
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    page = gr.context.Context.root_block
    assert page is not None
    link_widgets = [getattr(controls, name) for name in LINK_FIELDS]

    def show_link(request: gr.Request) -> list[Any]:
        updates, found = open_link(root, str(request.query_params))
        # not gr.Warning, which an event outside the queue prints on the server only
        text = f"<p class='note' role='alert'>{describe_problems(found)}</p>" if found else ""
        return [*updates, gr.update(value=text, visible=bool(found))]

    outputs = [controls.checkpoint, *shown, *link_widgets, problems]
    loaded = page.load(show_link, None, outputs, queue=False, **private)
    # The button is enabled only now: before this event, the dropdowns have no labels.
    loaded.then(lambda: gr.update(interactive=True), None, generate, queue=False, **private)
    # The engine is prepared outside the queue: a full queue would reject this event.
    chosen, unqueued = controls.checkpoint, {"queue": False, **private}
    preparing = partial(show_description, root, suffix=PREPARING)
    announced = loaded.then(preparing, chosen, about, **unqueued)
    ready = announced.then(partial(prepare_engine, root), chosen, None, **unqueued)
    # Reads the dropdown again, because the user may have chosen another checkpoint.
    ready.then(partial(show_description, root), chosen, about, **unqueued)


def _controls(root: Path, about: gr.HTML) -> tuple[Controls, gr.Button, gr.Button]:
    names = list_checkpoints(root)
    job_number = gr.Number(0, precision=0, visible=False)
    checkpoint = gr.Dropdown(
        names,
        value=names[0] if names else None,
        label="Checkpoint, or OWNER/NAME of the Hugging Face Hub"
        if import_allowed()
        else "Checkpoint",
        allow_custom_value=import_allowed(),
        elem_id="checkpoint",
    )
    about.render()
    with gr.Row():
        labels = [gr.Dropdown(visible=False, min_width=120) for _ in range(MAX_LABELS)]
        numbers = [gr.Number(visible=False, min_width=120) for _ in range(MAX_NUMBERS)]
    source = _recording(f"Recording to resynthesise: {READABLE_FORMATS}", "source", visible=False)
    with gr.Row():
        seconds = gr.Number(
            1.0, label="Length (s)", minimum=0.01, step=0.1, min_width=120, elem_id="seconds"
        )
        seed = gr.Number(
            -1, label="Seed (−1: random)", precision=0, minimum=-1, min_width=120, elem_id="seed"
        )
    with gr.Row():
        generate = gr.Button(
            "Generate", variant="primary", elem_id="generate", min_width=120, interactive=False
        )
        stop = gr.Button("Stop", elem_id="stop", min_width=120)
    sampling = _sampling()
    with gr.Accordion("Continue a recording", open=False) as prompt_section:
        prompt = _recording(f"Prompt: {READABLE_FORMATS}", "prompt")
        with_prompt = gr.Checkbox(True, label="Include the prompt in the output")
    recordings: dict[str, Any] = {"prompt": prompt, "with_prompt": with_prompt, "source": source}
    first: dict[str, Any] = {"job_number": job_number, "checkpoint": checkpoint}
    first |= {"seconds": seconds, "seed": seed}
    widgets = first | sampling | recordings
    controls = Controls(**widgets, numbers=numbers, labels=labels, prompt_section=prompt_section)
    return controls, generate, stop


def _recording(label: str, elem_id: str, visible: bool = True) -> gr.Audio:
    return gr.Audio(
        type="filepath",
        sources=["upload", "microphone"],
        format=None,
        buttons=["download"],
        label=label,
        elem_id=elem_id,
        visible=visible,
    )


def _sampling() -> dict[str, Any]:
    """Build the controls that few users change."""
    with gr.Accordion("Sampling", open=False):
        guidance = gr.Slider(
            1,
            4,
            1,
            step=0.1,
            label="Guidance: strength of the conditions (1: off)",
            visible=False,
            elem_id="guidance",
        )
        return {
            "variants": gr.Slider(
                1, MAX_VARIANTS, 1, step=1, label="Variants: number of clips", elem_id="variants"
            ),
            "temperature": gr.Slider(
                0.1,
                2,
                1,
                step=0.05,
                label="Temperature (below 1: less random)",
                elem_id="temperature",
            ),
            "top_k": gr.Slider(
                0, 256, 0, step=1, label="Top-k: sample from the k most likely codes (0: off)"
            ),
            "top_p": gr.Slider(
                0.05,
                1,
                1,
                step=0.01,
                label="Top-p: sample from the smallest set of most likely codes whose total "
                "probability is at least p (1: off)",
            ),
            "guidance": guidance,
            "engine": gr.Dropdown(list(ENGINES), value="auto", label="Engine", elem_id="engine"),
        }


def _results() -> tuple[dict[str, Any], gr.Button]:
    """Build the outputs, by the names of `OUTPUTS`, and the button that reuses the seed."""
    widgets: dict[str, Any] = {"player": make_player(sample_rate=16_000)}
    widgets["summary"] = gr.HTML(PLACEHOLDER, elem_id="summary")
    with gr.Column(visible=False) as widgets["results_column"]:
        for n in range(MAX_VARIANTS):
            widgets[f"audio{n + 1}"] = gr.Audio(
                type="filepath",
                interactive=False,
                buttons=["download"],
                format=None,
                label="Lossless WAV" if n == 0 else f"Variant {n + 1}",
                elem_id="result" if n == 0 else f"result-{n + 1}",
                visible=n == 0,
            )
        widgets["matched"] = gr.Audio(
            type="filepath",
            interactive=False,
            buttons=["download"],
            format=None,
            label="Filtered to match the mel spectrogram of the recording",
            elem_id="matched",
            visible=False,
        )
        with gr.Row(equal_height=True):
            widgets["used_seed"] = gr.Number(
                label="Seed used",
                precision=0,
                interactive=False,
                elem_id="used-seed",
                min_width=120,
            )
            reuse = gr.Button("Reuse this seed", elem_id="reuse", min_width=120)
        with gr.Column(elem_classes="plots"):
            for name in PLOTS:
                widgets[name] = gr.Plot(label=name, show_label=False, elem_id=name)
        with gr.Accordion("Reproduce this clip: command, settings, link", open=False):
            for name, label in (("command", "Command line"), ("settings", "Settings (JSON)")):
                widgets[name] = gr.Textbox(
                    label=label, interactive=False, buttons=["copy"], elem_id=name, lines=2
                )
            widgets["link"] = gr.HTML(elem_id="link")
    return widgets, reuse


def show_page(root: Path, query: str = "") -> list[Any]:
    """Return the updates of `open_link`."""
    return open_link(root, query)[0]


def open_link(root: Path, query: str) -> tuple[list[Any], list[str]]:
    """List the current checkpoints, and show the checkpoint of the link, or the first.

    Args:
        root: folder of checkpoint folders.
        query: query of the page's URL, without the question mark.
    Returns:
        The update of the checkpoint, those of `show_checkpoint`, those of `LINK_FIELDS`; and a
        sentence for each part of the link that cannot be used.
    """
    names = list_checkpoints(root)
    values, conditions, problems = read_link(query)
    linked = values.pop("checkpoint", None)
    name = None if linked is None else find_equal_name(linked, names)
    if linked is not None and name is None:
        known = ", ".join(names[:10]) or "none"
        problems.append(
            f"the link is for the checkpoint {linked[:40]!r}, which is not here; found {known}"
        )
    if name is not None:
        with suppress(WaveNetError):  # shown by `show_checkpoint`
            model = load_checkpoint(root, name).config.model
            resolved, others = resolve_link_conditions(model, conditions)
            values |= resolved
            problems += others
        shown = show_checkpoint(root, name, values)
    else:
        if linked is None and (conditions or values.keys() - set(LINK_FIELDS)):
            problems.append("the link names no checkpoint, so its other settings are not used")
        name = names[0] if names else None
        shown = show_checkpoint(root, name)
    link_updates = [values.get(field, gr.skip()) for field in LINK_FIELDS]
    return [gr.update(choices=names, value=name), *shown, *link_updates], problems


def describe_problems(problems: list[str]) -> str:
    """Return HTML of the first problems of a link."""
    shown = problems[:MAX_PROBLEMS]
    if len(problems) > len(shown):
        shown = [*shown, f"and {len(problems) - len(shown)} more"]
    return "<br>".join(escape(error_sentence(ConditionError(text))) for text in shown)


def show_description(root: Path, name: str | None, suffix: str = "") -> Any:
    """Return HTML that describes a checkpoint; no update if it cannot be loaded."""
    try:
        return describe_checkpoint(load_checkpoint(root, name)) + suffix
    except WaveNetError:
        return gr.skip()


def prepare_engine(root: Path, name: str | None) -> None:
    """Compile the engine for a checkpoint when a page opens."""
    with suppress(WaveNetError):
        warm_up(load_checkpoint(root, name))


def run_generation(
    root: Path,
    stop_requests: StopRequests,
    job_number: int,
    name: str | None,
    seconds: float | None,
    seed: int | None,
    variants: int,
    temperature: float,
    top_k: int,
    top_p: float,
    guidance: float,
    engine: str,
    prompt: str | None,
    with_prompt: bool,
    source: str | None,
    *conditions: Any,
) -> Iterator[tuple[Any, ...]]:
    """Check the values of the controls, then stream the clips.

    Args:
        root: folder of checkpoint folders.
        stop_requests: checked between two chunks.
        job_number: number of this job, from the browser.
        conditions: values of number fields and dropdowns, see `condition_values_of_controls`.
    Yields:
        Values of `OUTPUTS`.
    Raises:
        gr.Error: a setting is invalid; the last update shows the same sentence in the player.
    """
    try:
        checkpoint = load_checkpoint(root, name)
        model = checkpoint.config.model
        settings = make_config(
            GenerateSettings,
            "settings",
            # The recording to resynthesise determines the length; the hidden length field may have
            # any value.
            seconds=default_seconds(checkpoint) if model.locals else seconds,
            seed=seed,
            variants=variants,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            guidance=guidance,
            conditions=condition_values_of_controls(model, conditions),
        )
        used_prompt = None if model.locals else prompt
        job = make_generation_job(checkpoint, settings, engine, used_prompt, with_prompt, source)
        yield from stream_job(job, job_number, stop_requests)
    except (WaveNetError, AudioError) as error:
        yield output_values(player=end_message(job_number, 0, error_sentence(error)))
        with convert_user_errors():
            raise


def stream_job(
    job: GenerationJob, job_number: int, stop_requests: StopRequests
) -> Iterator[tuple[Any, ...]]:
    """Yield the audio of a job chunk by chunk, then files, plots, facts and shared settings."""
    result, sequence = GenerationResult(job), -1
    chunks = takewhile(lambda _: job_number not in stop_requests, result.stream())
    first_samples = round(FIRST_CHUNK_SECONDS * job.sample_rate)
    for sequence, chunk in enumerate(pace_chunks(chunks, first_samples=first_samples)):
        message = chunk_message(
            job_number, sequence, job.sample_rate, job.samples, result.speed, chunk
        )
        yield output_values(player=message)
    if job_number in stop_requests:
        return
    with tempfile.TemporaryDirectory() as folder:
        files = {name: gr.update(value=None, visible=False) for name in (*_AUDIOS, "matched")}
        for n, file_name in enumerate(job.file_names):
            io.write(Path(folder) / file_name, result.waveform(n), job.sample_rate)
            files[f"audio{n + 1}"] = gr.update(value=f"{folder}/{file_name}", visible=True)
        matched = _match_first_clip(result)
        if matched is not None:
            path = Path(folder) / job.file_names[0].replace(".wav", "_matched.wav")
            io.write(path, matched, job.sample_rate)
            files["matched"] = gr.update(value=str(path), visible=True)
        yield output_values(
            player=end_message(job_number, sequence + 1),
            summary=summarise(result),
            used_seed=job.settings.seed,
            results_column=gr.update(visible=True),
            **files,
            **draw_plots(result),
            command=format_command(job),
            settings=format_json(job),
            link=f"<a href='{escape(format_link(job))}'>Link to these settings</a>",
        )


def _match_first_clip(result: GenerationResult) -> Tensor | None:
    """Return the first clip matched to its mel frames.

    None if the model has no mel frames, or mel frames that are too coarse for matching.
    """
    with suppress(WaveNetError, AudioError):
        return match_mel(result.job, result.waveform())
    return None


def output_values(**named: Any) -> tuple[Any, ...]:
    """Return one value for each of `OUTPUTS`; outputs that are not named stay unchanged."""
    assert named.keys() <= set(OUTPUTS)
    return tuple(named.get(name, gr.skip()) for name in OUTPUTS)


def draw_plots(result: GenerationResult) -> dict[str, Any]:
    """Draw the first clip: waveform, mel spectrogram, MFCC and surprise on one time axis."""
    waveform, rate = result.waveform(), result.job.sample_rate
    surprise = result.surprise()
    marks = {"mean": float(surprise.double().mean())}
    return {
        "waveform": plots.plot_waveform(waveform, rate),
        "mel": plots.plot_mel(waveform, rate),
        "mfcc": plots.plot_mfcc(waveform, rate),
        "surprise": plots.plot_surprise(surprise, rate, waveform.numel() / rate, marks),
    }


def summarise(result: GenerationResult) -> str:
    """Return HTML with the facts of a finished job and the retries of the guard."""
    job, speed = result.job, result.speed
    facts = {
        "Length": f"{job.samples / job.sample_rate:.2f} s",
        "Samples": f"{job.samples:,}",
        "Sample rate": f"{job.sample_rate:,} Hz",
        "Real-time factor": f"{1 / max(speed, 1e-9):.2f}",
        "Speed": f"{speed:.1f} × real time",
        "Engine": job.engine.name,
        **{name: str(value) for name, value in job.settings.conditions.items()},
    }
    notes = [f"<p class='note'>{escape(_describe_retry(job, r))}</p>" for r in result.retries]
    return fact_list(facts) + "".join(notes)


def _describe_retry(job: GenerationJob, retry: Retry) -> str:
    """Return a sentence about a window that degenerated."""
    clip = "The clip" if len(job.requests) == 1 else f"Clip {retry.index + 1}"
    start, end = retry.first / job.sample_rate, retry.last / job.sample_rate
    text = f"{clip} degenerated to {retry.reason} before {end:.2f} s"
    if retry.stopped:
        return f"{text} again; the guard stopped, because the clip had too many attempts."
    if not retry.attempts:
        return f"{text}."
    outcome = "" if retry.solved else ", without success; try another seed"
    return f"{text} and was drawn again from {start:.2f} s{outcome}."
