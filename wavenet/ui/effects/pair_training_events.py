"""The callbacks of the training of effects: check two recordings, start, stop, resume, show a run.

Input: values of the widgets by name. Output: updates by name. A failed check refuses the training
with its sentence. Called by `pair_training`.
"""

import base64
import math
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr

from audio_utils.errors import AudioError
from wavenet.config import make_config
from wavenet.effects.pair_measurement import PairMeasures
from wavenet.effects.pair_plots import plot_check
from wavenet.effects.pair_report import PairCheck, PairReport, Verdict
from wavenet.errors import ConditionError, WaveNetError
from wavenet.sharing.local_models import check_model_name
from wavenet.ui.curve_plot import PlotAxis, curve_plot
from wavenet.ui.effects.effect_api import measure_uploads
from wavenet.ui.effects.effect_run import (
    EffectRun,
    EffectRunPlan,
    list_effect_runs,
    read_effect_run,
    resume_effect_run,
    start_effect_run,
    stop_effect_run,
)
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_note, error_sentence, status_note
from wavenet.ui.server.low_priority import run_with_low_priority
from wavenet.ui.templates import render

REPORT_PLACEHOLDER = status_note("Drop both recordings; what they are like appears here.")
RUN_PLACEHOLDER = status_note("The progress of the training appears here.")
READY = {
    Verdict.PASS: "The recordings are ready for training.",
    Verdict.WARN: "The recordings can be used; read the warnings.",
    Verdict.FAIL: "The recordings cannot be used as they are:",
}
_LOWEST_ESR, _HIGHEST_ESR = 1e-4, 1.0
_ESR_TICKS = ((1e-4, "0.0001"), (1e-3, "0.001"), (1e-2, "0.01"), (1e-1, "0.1"), (1.0, "1"))
Values = dict[str, Any]


def check_pair(*, dry: str | None, wet: str | None) -> Iterator[Values]:
    """Check two recordings: first the sentences, then also the plots.

    The button of the training is enabled if no check failed.
    """
    locked = {"start": gr.update(interactive=False)}
    if not dry or not wet:
        yield {"report": REPORT_PLACEHOLDER, **locked}
        return
    yield {"report": status_note("Reading and measuring both recordings …"), **locked}
    try:
        measures, report = measure_uploads(dry, wet)
    except (WaveNetError, AudioError) as error:
        yield {"report": error_note(error)}
        return
    is_usable = report.verdict is not Verdict.FAIL
    yield {"report": report_html(report, {}), "start": gr.update(interactive=is_usable)}
    plots = run_with_low_priority(lambda: draw_plots(measures, report))
    yield {"report": report_html(report, plots)}


def report_html(report: PairReport, plots: dict[str, str]) -> str:
    """Return HTML of a report; plots are addresses of images by the name of their check."""
    order = (Verdict.FAIL, Verdict.WARN, Verdict.PASS, Verdict.NOT_CHECKED)
    checks = sorted(report.checks, key=lambda check: order.index(check.verdict))
    rows = [(check, _figure(check), plots.get(check.name)) for check in checks]
    return render(
        "effects/pair_report.html",
        summary=READY[report.verdict],
        seconds=f"{min(report.seconds):.1f}",
        latency=f"{report.latency:,}",
        failed=report.verdict is Verdict.FAIL,
        rows=rows,
    )


def draw_plots(measures: PairMeasures, report: PairReport) -> dict[str, str]:
    """Return the plots as addresses with PNG data, by the name of their check."""
    found = {}
    for check in report.checks:
        buffer = BytesIO()
        plot_check(measures, check).savefig(buffer, format="png", dpi=72)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        found[check.name] = f"data:image/png;base64,{data}"
    return found


def start_run(
    page: Page,
    runs_dir: Path,
    *,
    dry: str | None,
    wet: str | None,
    name: str | None,
    model: str,
    minutes: float | None,
) -> Values:
    """Start a training, and choose it."""
    with convert_user_errors():
        if not dry or not wet:
            raise ConditionError("both recordings are needed: drop the dry and the wet one")
        plan = make_config(
            EffectRunPlan,
            "the training",
            name=check_model_name(page.root, name),
            model=model,
            minutes=10.0 if minutes is None else float(minutes),
        )
        start_effect_run(plan, runs_dir, Path(dry), Path(wet))
        return {"run": gr.update(choices=list_effect_runs(runs_dir), value=plan.name)}


def stop_run(runs_dir: Path, *, run: str | None) -> None:
    """Stop the chosen training."""
    with convert_user_errors():
        stop_effect_run(_run_folder(runs_dir, run))


def resume_run(runs_dir: Path, *, run: str | None) -> None:
    """Resume the chosen training."""
    with convert_user_errors():
        resume_effect_run(_run_folder(runs_dir, run))


def list_runs(runs_dir: Path, *, run: str | None) -> Values:
    """Return an update of the list: the chosen run stays, or the newest is chosen."""
    names = list_effect_runs(runs_dir)
    chosen = run if run in names else next(iter(names), None)
    return {"run": gr.update(choices=names, value=chosen, visible=bool(names))}


def show_run(runs_dir: Path, *, run: str | None) -> Values:
    """Return updates of the widgets that show the chosen run."""
    off = {name: gr.update(interactive=False) for name in ("stop", "resume", "listen")}
    if not run:
        return {"state": RUN_PLACEHOLDER, "timer": gr.update(active=False), **off}
    try:
        found = read_effect_run(_run_folder(runs_dir, run))
    except WaveNetError as error:
        return {"state": error_note(error), "timer": gr.update(active=False), **off}
    return {
        "state": run_html(found),
        "timer": gr.update(active=found.is_active),
        "stop": gr.update(interactive=found.is_active),
        "resume": gr.update(interactive=found.state in ("stopped", "failed")),
        "listen": gr.update(interactive=bool(found.curve)),
    }


def run_html(run: EffectRun) -> str:
    """Return HTML of the state, the progress and the error of a run."""
    best = min((esr for _, esr in run.curve), default=None)
    linear = run.results.pairs[0].linear_validation_esr if run.results else None
    facts = {
        "error now (ESR)": "–" if not run.curve else f"{run.curve[-1][1]:.4f}",
        "smallest error (ESR)": "–" if best is None else f"{best:.4f}",
    }
    if linear is not None:
        facts["a linear filter (ESR)"] = f"{linear:.4f}"
    return render(
        "effects/run_view.html",
        text=describe_run(run),
        is_error=run.state == "failed",
        step=run.step,
        steps=run.steps,
        facts=facts if run.curve else {},
        plot=_error_plot(run) if len(run.curve) > 1 else "",
    )


def describe_run(run: EffectRun) -> str:
    """Return the state of a run as a sentence."""
    name = run.plan.name
    if run.state == "failed":
        return error_sentence(Exception(run.message or "the training has ended without results"))
    return {
        "starting": f"{name}: starting: reading the recordings, measuring the speed …",
        "running": f"{name}: training. The first result needs some minutes."
        if not run.curve
        else f"{name}: training; the list of effects has its best weights so far.",
        "stopped": f"{name}: stopped after step {run.step:,}; Resume continues.",
        "finished": f"{name}: finished; it is in the list of effects.",
    }[run.state]


def _error_plot(run: EffectRun) -> str:
    last = max(run.steps or 0, run.step, 2)
    ticks = [(share * last, f"{share * last:,.0f}") for share in (0, 0.5, 1)]
    x_axis = PlotAxis("step", 0, last, ticks)
    y_axis = PlotAxis("error (ESR)", _LOWEST_ESR, _HIGHEST_ESR, _ESR_TICKS, is_log=True)
    points = [(float(step), max(esr, _LOWEST_ESR)) for step, esr in run.curve if math.isfinite(esr)]
    return curve_plot("Error on the validation part", x_axis, y_axis, [("ESR", points)])


def _figure(check: PairCheck) -> str:
    return "" if check.figure is None else f"{check.figure:.4g} {check.unit}"


def _run_folder(runs_dir: Path, name: str | None) -> Path:
    if name not in list_effect_runs(runs_dir):
        raise ConditionError("this training no longer exists; reload the page")
    return runs_dir / str(name)
