"""The controls that depend on the checkpoint: clip length, conditions, sampling, and a description.

Input: a checkpoint. Output: updates of widgets. `condition_values_of_controls` converts the values
of these widgets to condition values by name. Called by the tabs that run a model.
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
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.generate.generation_job import default_sampling, default_seconds
from wavenet.ui.generate.live_player import rate_message
from wavenet.ui.page_text import error_note

# More label conditions than this make the page unusable. Use the command line for more.
MAX_LABELS = 8
MAX_NUMBERS = 4
UPDATE_COUNT = 9 + MAX_NUMBERS + MAX_LABELS  # updates that `show_checkpoint` returns
OMITTED = "any"  # shown for an omitted label
# A good first clip, if the checkpoint has these labels: some speakers of the digits were recorded
# 20 dB softer than others.
FIRST_LABELS = {"digit": "7", "speaker": "jackson"}


def show_checkpoint(
    root: Path, name: str | None, preset: Mapping[str, Any] | None = None
) -> list[Any]:
    """Describe a checkpoint and adapt the controls to it.

    Args:
        root: folder of checkpoint folders.
        name: name of its folder.
        preset: seconds, sampling settings and condition values by name, from a link; defaults
            replace missing and invalid values.
    Returns:
        Updates of the description, the length, the player, the guidance, the recording to
        resynthesise, the prompt, temperature, top-k, top-p, `MAX_NUMBERS` numbers and
        `MAX_LABELS` dropdowns.
    """
    try:
        checkpoint = load_checkpoint(root, name)
    except WaveNetError as error:
        hidden = [gr.update(visible=False)] * (MAX_NUMBERS + MAX_LABELS)
        return [error_note(error), *[gr.skip()] * 8, *hidden]
    model = checkpoint.config.model
    preset = preset or {}
    seconds = preset.get("seconds", default_seconds(checkpoint))
    has_optional = any(condition.dropout for condition in (*model.labels, *model.globals))
    resynthesises = bool(model.locals)
    sampling = {
        name: preset.get(name, default) for name, default in default_sampling(checkpoint).items()
    }
    return [
        describe_checkpoint(checkpoint),
        gr.update(value=seconds, visible=not resynthesises),
        rate_message(checkpoint.config.audio.sample_rate),
        gr.update(value=sampling["guidance"], visible=has_optional),
        gr.update(value=None, visible=resynthesises),
        gr.update(visible=not resynthesises),
        sampling["temperature"],
        sampling["top_k"],
        sampling["top_p"],
        *_fill_up(_number_updates(model, preset), MAX_NUMBERS),
        *_fill_up([_label_update(c, preset.get(c.name)) for c in model.labels], MAX_LABELS),
    ]


def show_conditions(root: Path, name: str | None) -> list[Any]:
    """Return only the last updates of `show_checkpoint`: number fields and dropdowns."""
    return show_checkpoint(root, name)[-MAX_NUMBERS - MAX_LABELS :]


def describe_checkpoint(checkpoint: Checkpoint) -> str:
    """Return HTML with the size of a model, and the conditions that the page does not show."""
    model, rate = checkpoint.model, checkpoint.config.audio.sample_rate
    field = model.receptive_field
    parts = [
        f"{rate:,} Hz",
        f"{model.parameter_count:,} parameters",
        "receptive field: unlimited"
        if field is None
        else f"receptive field: {field:,} samples ({1000 * model.seconds(field):.0f} ms)",
    ]
    if len(model.config.labels) > MAX_LABELS:
        parts.append(f"this page shows only {MAX_LABELS} of its labels")
    if len(_number_updates(model.config, {})) > MAX_NUMBERS:
        parts.append(f"this page shows only {MAX_NUMBERS} of its numbers")
    for kind, where in (
        (FramesCondition, "on the command line"),
        (VectorCondition, "from Python"),
    ):
        names = [c.name for c in model.config.conditions if isinstance(c, kind)]
        if names:
            parts.append(f"{escape(', '.join(names))}: only {where}")
    return f"<p>{' · '.join(parts)}</p>"


def condition_values_of_controls(
    model: ModelConfig, values: Sequence[Any]
) -> dict[str, str | float]:
    """Return the values of number fields and dropdowns by condition name, without empty ones.

    Args:
        model: the config that declares the conditions.
        values: values of `MAX_NUMBERS` number fields, then of the dropdowns; in both groups the
            unused ones are last.
    """
    numbers = [c.name for c in model.globals if isinstance(c, NumberCondition)]
    labels = [condition.name for condition in model.labels]
    pairs = [
        *zip(numbers, values[:MAX_NUMBERS], strict=False),
        *zip(labels, values[MAX_NUMBERS:], strict=False),
    ]
    return {name: value for name, value in pairs if value not in (None, "")}


def _fill_up(updates: list[Any], count: int) -> list[Any]:
    """Return exactly `count` updates; the added ones hide their widgets."""
    # A separate dict for each, because Gradio removes the value from the update that it sends.
    hidden = [gr.update(visible=False, value=None) for _ in range(count - len(updates))]
    return [*updates[:count], *hidden]


def _label_update(condition: LabelCondition, preset: Any) -> Any:
    choices = [(text, text) for text in condition.values]
    if condition.dropout:
        choices = [(OMITTED, ""), *choices]
    known = [value for _, value in choices]
    candidates = (preset, FIRST_LABELS.get(condition.name), known[0])
    value = next(value for value in candidates if value in known)
    return gr.update(choices=choices, value=value, label=_title(condition.name), visible=True)


def _number_updates(model: ModelConfig, preset: Mapping[str, Any]) -> list[Any]:
    updates = []
    for condition in model.globals:
        if isinstance(condition, NumberCondition):
            value, placeholder = None, ""
            if not condition.dropout:  # scoring needs a value
                middle = (condition.low + condition.high) / 2
                value = middle if condition.default is None else condition.default
            elif condition.default is not None:
                suffix = ", or as in the prompt" if condition.derived_from else ""
                placeholder = f"{condition.default:g}{suffix}"
            if condition.name in preset:
                with contextlib.suppress(TypeError, ValueError):
                    value = float(preset[condition.name])
            label = f"{_title(condition.name)} ({condition.range_text})"
            update = gr.update(value=value, label=label, placeholder=placeholder, visible=True)
            updates.append(update)
    return updates


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
