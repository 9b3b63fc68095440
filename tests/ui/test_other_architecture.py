"""The tabs with a checkpoint that is not a WaveNet: it is refused before any work, or works."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from wavenet.model.gru import GRUConfig
from wavenet.ui import watch_tab
from wavenet.ui.checkpoint_controls import MAX_LABELS, MAX_NUMBERS
from wavenet.ui.models.model_shelf import shelf_html
from wavenet.ui.network_settings import network_choices
from wavenet.ui.watch_tab import run_watch


@pytest.fixture
def gru_root(make_checkpoint: Any) -> Path:
    """Return a folder with the checkpoints gru and tiny, a WaveNet."""
    config = GRUConfig(embedding_channels=8, hidden_channels=8, output_channels=8, condition_hop=7)
    make_checkpoint()
    folder: Path = make_checkpoint(config, name="gru").folder
    return folder.parent


def test_watch_refuses_before_it_generates(gru_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_tab, "draw_first_codes", None)  # a call would be a TypeError
    values = [0.2, 5, 0.05, 30, None, *[None] * (MAX_NUMBERS + MAX_LABELS)]
    messages = []
    with pytest.raises(gr.Error, match="needs a WaveNet"):
        for message in run_watch(gru_root, "gru", *values):
            messages.append(message)
    assert [list(message) for message in messages] == [["error"]]


def test_the_receptive_field_lists_wavenets_only(gru_root: Path) -> None:
    choices = network_choices(gru_root)
    assert "Checkpoint: tiny" in choices
    assert "Checkpoint: gru" not in choices


def test_the_models_tab_shows_the_architecture(gru_root: Path) -> None:
    card = shelf_html(gru_root, True).partition('data-model="gru"')[2].partition("<li")[0]
    assert "<dd>gru</dd>" in card
    assert "unlimited" in card
