"""One press of Generate: a job runs, and the page hears and sees it.

What the controls hold enters; messages for the live player leave, then the file, the pictures and a
line of figures. Called by the Generate tab.
"""

import tempfile
import time
from collections.abc import Iterator
from html import escape
from itertools import takewhile
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from audio_utils import io, plots
from audio_utils.errors import AudioError
from wavenet.errors import WaveNetError
from wavenet.parsing import make
from wavenet.ui import jobs
from wavenet.ui.player import chunk_message, end_message

# Outputs beside the player: figures, box, file, three pictures, seed.
OTHER_OUTPUTS = 7


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
    temperature: float,
    top_k: int,
    top_p: float,
    engine: str,
    prompt: str | None,
    with_prompt: bool,
    *chosen: str | None,
) -> Iterator[tuple[Any, ...]]:
    """Check what the controls hold, then perform it; a fault is one sentence in the page.

    Args:
        root: folder of checkpoint folders.
        stops: asked between two pieces whether this run is to end.
        run: the browser's number of this run.
        chosen: one label per set of the checkpoint, then the values of unused dropdowns.
    """
    try:
        checkpoint = jobs.load_named(root, name)
        names = [condition.name for condition in checkpoint.config.model.labels]
        labels = {k: v for k, v in zip(names, chosen, strict=False) if v is not None}
        wish = make(
            jobs.Wish,
            "settings",
            seconds=seconds,
            seed=seed,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            labels=labels,
        )
        job = jobs.make_job(checkpoint, wish, engine, prompt, with_prompt)
        yield from perform(job, run, stops)
    except (WaveNetError, AudioError) as error:
        yield (end_message(run, 0, jobs.sentence(error)), *[gr.skip()] * OTHER_OUTPUTS)
        with jobs.shown_errors():
            raise


def perform(job: jobs.Job, run: int, stops: Stops) -> Iterator[tuple[Any, ...]]:
    """Yield the sound of a job in pieces, then everything that is left to show."""
    total = job.opening.numel() + job.item.samples
    parts: list[Tensor] = []
    clock = Clock(job)
    wanted = takewhile(lambda _: run not in stops, clock.timed())
    for number, part in enumerate(jobs.paced(wanted)):
        parts.append(part)
        message = chunk_message(run, number, job.rate, total, clock.speed, part)
        yield (message, *[gr.skip()] * OTHER_OUTPUTS)
    if run in stops:
        return
    waveform = torch.cat(parts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / job.file_name
        io.write(path, waveform, job.rate)
        yield (
            end_message(run, len(parts)),
            summarise(job, waveform, clock.speed),
            job.item.seed,
            gr.update(visible=True),
            str(path),
            *pictures(waveform, job.rate),
        )


class Clock:
    """Measures the work alone: neither the waiting for the page nor the prompt, which is given."""

    def __init__(self, job: jobs.Job) -> None:
        self.job = job
        self.worked = 0.0
        self.made = -job.opening.numel()

    def timed(self) -> Iterator[Tensor]:
        """Hand the pieces of the job through."""
        waveforms = self.job.waveforms()
        while True:
            began = time.perf_counter()
            waveform = next(waveforms, None)
            self.worked += time.perf_counter() - began
            if waveform is None:
                return
            self.made += waveform.numel()
            yield waveform

    @property
    def speed(self) -> float:
        """Seconds of audio made per second of work: times real time."""
        return self.made / self.job.rate / max(self.worked, 1e-9)


def pictures(waveform: Tensor, rate: int) -> list[Any]:
    """Draw waveform, mel spectrogram and MFCC under one time axis."""
    return [plot(waveform, rate) for plot in (plots.plot_waveform, plots.plot_mel, plots.plot_mfcc)]


def summarise(job: jobs.Job, waveform: Tensor, speed: float) -> str:
    """Give the figures of a finished run as HTML."""
    facts = {
        "Length": f"{waveform.numel() / job.rate:.2f} s",
        "Samples": f"{waveform.numel():,}",
        "Sample rate": f"{job.rate:,} Hz",
        "Real-time factor": f"{1 / speed:.2f}",
        "Speed": f"{speed:.1f} × real time",
        "Engine": job.engine.name,
        **{name: str(value) for name, value in job.item.labels.items()},
    }
    return fact_list(facts)


def fact_list(facts: dict[str, str], kind: str = "facts") -> str:
    """Put names and values into an HTML list; they are escaped, for some come from checkpoints."""
    rows = "".join(
        f"<div><dt>{escape(name[:1].upper() + name[1:])}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
    )
    return f"<dl class='{kind}'>{rows}</dl>"
