"""The cards of all models: what each generates, its licence, facts, card text and actions.

Input: the folder of checkpoints. Output: one component, whose value is the HTML of the cards; a
press triggers the event `click` with an action, the name of a model, and a text. Called by the
Models tab.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from markupsafe import Markup

from wavenet.checkpoint import CARD, CONFIG, CheckpointConfig, load_config
from wavenet.checkpoint_folders import list_in_studio, weight_folders
from wavenet.errors import WaveNetError
from wavenet.model.architectures import build_model
from wavenet.model.autoregressive_model import Fact
from wavenet.model.conditions import (
    Condition,
    LabelCondition,
    NumberCondition,
    PositionCondition,
    RasterCondition,
)
from wavenet.sharing import card_reader
from wavenet.sharing.local_models import is_added
from wavenet.ui.checkpoint_library import list_checkpoints, modification_times
from wavenet.ui.models.model_sample import sample_path
from wavenet.ui.page_text import error_sentence
from wavenet.ui.server.uploads import served_url
from wavenet.ui.templates import render, scripted_html
from wavenet.weights_file import WEIGHTS

ELEMENT_ID = "model-shelf"
NO_LICENCE = "not stated; ask the authors"
MAX_LABELS_SHOWN = 20
FACT_TITLES = {"receptive_field_ms": "Receptive field, time", "macs_per_sample": "Per sample"}
FACT_UNITS = {
    "receptive_field": " samples",
    "receptive_field_ms": " ms",
    "macs_per_sample": " MACs",
}


def make_shelf(root: Path, can_train: bool) -> gr.HTML:
    """Build the component; `can_train`: whether a run can start from a model."""
    return scripted_html("models/model_shelf", ELEMENT_ID, shelf_html(root, can_train))


def shelf_html(root: Path, can_train: bool, notes: Mapping[str, str] | None = None) -> str:
    """Return the HTML of all cards.

    Args:
        root: folder of checkpoint folders.
        can_train: whether a run can start from a model.
        notes: HTML of a message about an action, by the name of its model.
    """
    notes, folders = notes or {}, list_in_studio(root)
    cards = [
        {**describe_model_folder(root, folders[name]), "note": Markup(notes.get(name, ""))}
        for name in list_checkpoints(root)
    ]
    return render("models/model_cards.html", models=cards, can_train=can_train)


def describe_model_folder(root: Path, folder: Path) -> dict[str, Any]:
    """Return the values of one card for the template; `error` if the model cannot be used.

    Args:
        root: folder of checkpoint folders, to which the studio adds.
        folder: of the model.
    """
    try:
        found = {
            "error": None,
            **_describe(folder, modification_times(folder, CONFIG, WEIGHTS, CARD)),
        }
    except (WaveNetError, OSError) as error:
        sentence = error_sentence(error).replace(f"{folder.parent}/", "")
        found = {"error": sentence, "summary": "", "licence": "", "facts": {}, "card": ""}
    sample = sample_path(folder) if found["error"] is None else None
    return {
        **found,
        "name": folder.name,
        "is_added": is_added(root, folder),
        "sample": served_url(sample) if sample is not None and sample.is_file() else "",
    }


@lru_cache(maxsize=200)
def _describe(folder: Path, modification_times: tuple[int, ...]) -> dict[str, Any]:
    """Describe a checkpoint without its weights; the modification times are part of the key."""
    config = load_config(folder)
    text = card_reader.read_card(folder)
    licence = card_reader.get_licence(text) or NO_LICENCE
    usage = config.usage
    summary = card_reader.first_paragraph(text)
    if not summary and usage and usage.summary:
        summary = f"Generates {usage.summary}."
    sizes = [(part / WEIGHTS).stat().st_size for part in weight_folders(folder)]
    megabytes = sum(sizes) / 1e6
    return {
        "summary": summary,
        "licence": licence,
        "facts": model_facts(config) | {"Weights file": f"{megabytes:,.1f} MB"},
        "card": Markup(card_reader.render_html(text)),  # safe HTML
    }


def model_facts(config: CheckpointConfig) -> dict[str, str]:
    """Return the most important facts about a model as text."""
    network, codec, rate = config.model, config.codec, config.audio.sample_rate
    with torch.device("meta"):  # shapes without data
        model = build_model(network, codec, rate)
    return {
        "Sample rate": f"{rate:,} Hz",
        "Codec": codec.description,
        "Output distribution": network.output.kind.replace("-", " "),
        **format_facts(model.describe()),
        **{
            f"Condition: {getattr(c, 'name', c.kind)}": describe_values(c)
            for c in network.conditions
        },
    }


def format_facts(facts: Mapping[str, Fact]) -> dict[str, str]:
    """Return the facts of `describe()` as text with units."""
    return {
        FACT_TITLES.get(name, name.replace("_", " ").capitalize()): format_fact(name, fact)
        for name, fact in facts.items()
    }


def format_fact(name: str, fact: Fact) -> str:
    """Return a fact as text with its unit."""
    if isinstance(fact, list):
        return f"{min(fact):,} to {max(fact):,}"
    if fact is None:
        return "unlimited"
    return fact if isinstance(fact, str) else f"{fact:,}{FACT_UNITS.get(name, '')}"


def describe_values(condition: Condition) -> str:
    """Return the possible values of a condition as text."""
    if isinstance(condition, LabelCondition):
        more = len(condition.values) - MAX_LABELS_SHOWN
        rest = [f"and {more:,} more"] if more > 0 else []
        return ", ".join([*condition.values[:MAX_LABELS_SHOWN], *rest])
    if isinstance(condition, PositionCondition):
        return "computed from the position in the clip"
    if isinstance(condition, RasterCondition):
        return f"row and column in an image of {condition.height} x {condition.width} pixels"
    if isinstance(condition, NumberCondition):
        return condition.choice_text
    if condition.kind == "vector":
        return f"{condition.size} numbers"
    return f"{condition.columns} numbers per frame"
