"""One press of Generate: a job runs, and the page hears and sees it.

What the controls hold enters; messages for the live player leave, then the file, the pictures and a
line of figures. Called by the Generate tab.
"""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from html import escape
from itertools import takewhile
from pathlib import Path
from typing import Any

import gradio as gr
from torch import Tensor

from audio_utils import io, plots
from audio_utils.errors import AudioError
from wavenet.config import make_config
from wavenet.errors import WaveNetError
from wavenet.generation.guard import Retry
from wavenet.ui import jobs, sharing
from wavenet.ui.controls import chosen_labels
from wavenet.ui.player import chunk_message, end_message
from wavenet.ui.take import Take, match

_AUDIOS = tuple(f"audio{n + 1}" for n in range(jobs.MAX_VARIANTS))
PICTURES = ("waveform", "mel", "mfcc", "surprise")
SHARED = ("command", "settings", "link")
# What a run changes, in the order in which the page lists it.
OUTPUTS = ("player", "summary", "used_seed", "box", *_AUDIOS, "matched", *PICTURES, *SHARED)


class Stops:
    """The runs that are to end, by their numbers; safe to use from many threads.

    Gradio's own `cancels` cannot serve: when its answer is late, the page takes the next run for
    the stopped one, which then ends early and can no longer be stopped (seen with Gradio 6.31).
    """

    KEPT = 1000  # a run that was over before it was stopped never asks

    def __init__(self) -> None:
        self._runs: dict[int, None] = {}

    def add(self, run: int | None) -> None:
        """End a run, or one that has yet to begin; None ends nothing."""
        if run is not None:
            self._runs[run] = None
        for old in list(self._runs)[: -self.KEPT]:
            self._runs.pop(old, None)

    def __contains__(self, run: int) -> bool:
        return run in self._runs


def run_live(
    root: Path,
    stops: Stops,
    run: int,
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
    *chosen: Any,
) -> Iterator[tuple[Any, ...]]:
    """Check what the controls hold, then perform it; a fault is one sentence in the page.

    Args:
        root: folder of checkpoint folders.
        stops: asked between two pieces whether this run is to end.
        run: the browser's number of this run.
        chosen: see `controls.chosen_labels`.
    """
    try:
        checkpoint = jobs.load_named(root, name)
        model = checkpoint.config.model
        wish = make_config(
            jobs.Wish,
            "settings",
            # where a recording is said again its field is hidden, and what it holds of no use
            seconds=jobs.usual_seconds(checkpoint) if model.locals else seconds,
            seed=seed,
            variants=variants,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            guidance=guidance,
            labels=chosen_labels(model, chosen),
        )
        given = None if model.locals else prompt
        job = jobs.make_job(checkpoint, wish, engine, given, with_prompt, source)
        yield from perform(job, run, stops)
    except (WaveNetError, AudioError) as error:
        yield outputs(player=end_message(run, 0, jobs.sentence(error)))
        with jobs.shown_errors():
            raise


def perform(job: jobs.Job, run: int, stops: Stops) -> Iterator[tuple[Any, ...]]:
    """Yield the sound of a job in pieces, then everything that is left to show."""
    take, number = Take(job), -1
    wanted = takewhile(lambda _: run not in stops, take.play())
    first = round(jobs.FIRST_SECONDS * job.rate)
    for number, part in enumerate(jobs.paced(wanted, first=first)):
        message = chunk_message(run, number, job.rate, job.samples, take.speed, part)
        yield outputs(player=message)
    if run in stops:
        return
    with tempfile.TemporaryDirectory() as folder:
        files = {name: gr.update(value=None, visible=False) for name in (*_AUDIOS, "matched")}
        for n, file_name in enumerate(job.file_names):
            io.write(Path(folder) / file_name, take.waveform(n), job.rate)
            files[f"audio{n + 1}"] = gr.update(value=f"{folder}/{file_name}", visible=True)
        matched = _matched(take)
        if matched is not None:
            path = Path(folder) / job.file_names[0].replace(".wav", "_matched.wav")
            io.write(path, matched, job.rate)
            files["matched"] = gr.update(value=str(path), visible=True)
        yield outputs(
            player=end_message(run, number + 1),
            summary=summarise(take),
            used_seed=job.wish.seed,
            box=gr.update(visible=True),
            **files,
            **pictures(take),
            command=sharing.as_command(job),
            settings=sharing.as_json(job),
            link=f"<a href='{escape(sharing.as_link(job))}'>A link to these settings</a>",
        )


def _matched(take: Take) -> Tensor | None:
    """Filter the first clip to the mel that it was made from, where there is one fine enough."""
    with suppress(WaveNetError, AudioError):
        return match(take.job, take.waveform())
    return None


def outputs(**named: Any) -> tuple[Any, ...]:
    """Give values by name as Gradio takes them: one for every output."""
    assert named.keys() <= set(OUTPUTS)
    return tuple(named.get(name, gr.skip()) for name in OUTPUTS)


def pictures(take: Take) -> dict[str, Any]:
    """Draw the first clip under one time axis: its sound, and how it surprised its model."""
    waveform, rate = take.waveform(), take.job.rate
    bits = take.bits()
    marks = {"mean": float(bits.double().mean())}
    return {
        "waveform": plots.plot_waveform(waveform, rate),
        "mel": plots.plot_mel(waveform, rate),
        "mfcc": plots.plot_mfcc(waveform, rate),
        "surprise": plots.plot_surprise(bits, rate, waveform.numel() / rate, marks),
    }


def summarise(take: Take) -> str:
    """Give the figures of a finished run as HTML, and what was drawn again."""
    job, speed = take.job, take.speed
    facts = {
        "Length": f"{job.samples / job.rate:.2f} s",
        "Samples": f"{job.samples:,}",
        "Sample rate": f"{job.rate:,} Hz",
        "Real-time factor": f"{1 / max(speed, 1e-9):.2f}",
        "Speed": f"{speed:.1f} × real time",
        "Engine": job.engine.name,
        **{name: str(value) for name, value in job.wish.labels.items()},
    }
    again = "".join(f"<p class='note'>{escape(_tell(job, r))}</p>" for r in take.rescues)
    return fact_list(facts) + again


def _tell(job: jobs.Job, rescue: Retry) -> str:
    """Put a rescue into one sentence."""
    clip = "The clip" if len(job.items) == 1 else f"Clip {rescue.index + 1}"
    begun, end = rescue.first / job.rate, rescue.last / job.rate
    told = f"{clip} ran into {rescue.reason} by {end:.2f} s"
    if not rescue.attempts:
        return f"{told}."
    result = "" if rescue.solved else ", without success: another seed may help"
    return f"{told} and was drawn again from {begun:.2f} s{result}."


def fact_list(facts: dict[str, str], kind: str = "facts") -> str:
    """Put names and values into an HTML list; they are escaped, for some come from checkpoints."""
    rows = "".join(
        f"<div><dt>{escape(name[:1].upper() + name[1:])}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
    )
    return f"<dl class='{kind}'>{rows}</dl>"
