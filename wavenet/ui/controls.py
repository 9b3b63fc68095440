"""What the controls of a run hold for a checkpoint: its labels, its numbers, what it can do.

A checkpoint enters; updates of widgets leave. What comes back of those widgets becomes labels by
condition name. The queues stand here too, for tabs share them. Callers: the tabs that run a model.
"""

import contextlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.checkpoint import Checkpoint
from wavenet.errors import WaveNetError
from wavenet.model.conditions import (
    FramesCondition,
    LabelCondition,
    NumberCondition,
    VectorCondition,
)
from wavenet.model.model_config import ModelConfig
from wavenet.ui import jobs

# Of the callers of a model one works at a time. The signal has a queue of its own, so that nobody's
# pictures wait for somebody's model.
MODEL_QUEUE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
SIGNAL_QUEUE: dict[str, Any] = {"concurrency_id": "signal", "concurrency_limit": 1}
# More label sets than this, and a page of dropdowns is the wrong tool: use the command line.
MAX_LABEL_SETS = 8
MAX_NUMBERS = 4
SHOWN = 9 + MAX_NUMBERS + MAX_LABEL_SETS  # what `show_checkpoint` updates
ANY = "any"  # shown for a label that is left out
# What is heard well at the first press, where the checkpoint has it: of the speakers of the digits
# some were recorded 20 dB softer than others.
FIRST_CHOICES = {"digit": "7", "speaker": "jackson"}


def show_checkpoint(
    root: Path, name: str | None, wanted: Mapping[str, Any] | None = None
) -> list[Any]:
    """Describe a checkpoint and fit the controls to it.

    Args:
        name: of its folder.
        wanted: seconds, how to draw, and labels by condition name, from a link; the usual ones
            stand in for what is missing or does not fit.
    Returns:
        Updates of the description, the length, the player, the guidance, the recording to say
        again, the prompt, temperature, top-k, top-p, `MAX_NUMBERS` numbers and `MAX_LABEL_SETS`
        dropdowns.
    """
    try:
        checkpoint = jobs.load_named(root, name)
    except WaveNetError as error:
        hidden = [gr.update(visible=False)] * (MAX_NUMBERS + MAX_LABEL_SETS)
        alert = f"<p role='alert'>{escape(jobs.sentence(error))}</p>"
        return [alert, *[gr.skip()] * 8, *hidden]
    model = checkpoint.config.model
    wanted = wanted or {}
    seconds = wanted.get("seconds", jobs.usual_seconds(checkpoint))
    rate = {"rate": checkpoint.config.audio.sample_rate}
    can_leave_out = any(condition.dropout for condition in (*model.labels, *model.globals))
    says_again = bool(model.locals)
    drawing = {
        name: wanted.get(name, usual) for name, usual in jobs.usual_drawing(checkpoint).items()
    }
    return [
        describe(checkpoint),
        gr.update(value=seconds, visible=not says_again),
        rate,
        gr.update(value=drawing["guidance"], visible=can_leave_out),
        gr.update(value=None, visible=says_again),
        gr.update(visible=not says_again),
        drawing["temperature"],
        drawing["top_k"],
        drawing["top_p"],
        *_fill(_numbers(model, wanted), MAX_NUMBERS),
        *_fill([_labels(c, wanted.get(c.name)) for c in model.labels], MAX_LABEL_SETS),
    ]


def describe(checkpoint: Checkpoint) -> str:
    """Put what matters about a model into a line of HTML, and what the page cannot give it."""
    model, rate = checkpoint.model, checkpoint.config.audio.sample_rate
    parts = [
        f"{rate:,} Hz",
        f"{model.parameter_count:,} parameters",
        "receptive field: unlimited"
        if model.receptive_field is None
        else f"receptive field: {model.receptive_field:,} samples "
        f"({1000 * model.seconds(model.receptive_field):.0f} ms)",
    ]
    if len(model.config.labels) > MAX_LABEL_SETS:
        parts.append(f"only {MAX_LABEL_SETS} of its label sets fit on this page")
    if len(_numbers(model.config, {})) > MAX_NUMBERS:
        parts.append(f"only {MAX_NUMBERS} of its numbers fit on this page")
    arrays = [
        condition.name
        for condition in (*model.config.globals, *model.config.locals)
        if isinstance(condition, VectorCondition | FramesCondition)
    ]
    if arrays:
        parts.append(f"takes arrays ({escape(', '.join(arrays))}), which the command line can give")
    return f"<p>{' · '.join(parts)}</p>"


def chosen_labels(model: ModelConfig, values: Sequence[Any]) -> dict[str, str | float]:
    """Name what the number fields and then the dropdowns hold; what is left empty is left out.

    Args:
        values: of `MAX_NUMBERS` numbers, then of the dropdowns; the unused ones last in each.
    """
    numbers = [c.name for c in model.globals if isinstance(c, NumberCondition)]
    names = [condition.name for condition in model.labels]
    pairs = [
        *zip(numbers, values[:MAX_NUMBERS], strict=False),
        *zip(names, values[MAX_NUMBERS:], strict=False),
    ]
    return {name: value for name, value in pairs if value not in (None, "")}


def _fill(updates: list[Any], most: int) -> list[Any]:
    """Cut to as many widgets as there are, and hide the rest."""
    # each its own, for Gradio takes the value out of what it sends
    hidden = [gr.update(visible=False, value=None) for _ in range(most - len(updates))]
    return [*updates[:most], *hidden]


def _labels(condition: LabelCondition, wanted: Any) -> Any:
    choices = [(text, text) for text in condition.values]
    if condition.dropout:
        choices = [(ANY, ""), *choices]
    known = [value for _, value in choices]
    likely = (wanted, FIRST_CHOICES.get(condition.name), known[0])
    value = next(value for value in likely if value in known)
    label = condition.name.replace("_", " ").capitalize()
    return gr.update(choices=choices, value=value, label=label, visible=True)


def _numbers(model: ModelConfig, wanted: Mapping[str, Any]) -> list[Any]:
    updates = []
    for condition in model.globals:
        if isinstance(condition, NumberCondition):
            name = condition.name.replace("_", " ").capitalize()
            value, otherwise = None, ""
            if not condition.dropout:  # who scores has to give one
                middle = (condition.low + condition.high) / 2
                value = middle if condition.default is None else condition.default
            elif condition.default is not None:
                more = ", or as the prompt" if condition.derived_from else ""
                otherwise = f"{condition.default:g}{more}"
            if condition.name in wanted:
                with contextlib.suppress(TypeError, ValueError):
                    value = float(wanted[condition.name])
            label = f"{name} ({condition.range_text})"
            updates.append(gr.update(value=value, label=label, placeholder=otherwise, visible=True))
    return updates
