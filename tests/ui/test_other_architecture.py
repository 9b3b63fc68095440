"""The tabs with a checkpoint that is not a WaveNet: it is refused before any work, or works."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from wavenet.likelihood import effective_field
from wavenet.model.recurrent import GRUConfig
from wavenet.ui.models.model_shelf import shelf_html
from wavenet.ui.receptive_field.influence_measurement import measure_influence
from wavenet.ui.receptive_field.network_facts import CAUSAL_DILATED
from wavenet.ui.receptive_field.network_settings import MODEL_ABOVE, choose_network
from wavenet.ui.receptive_field.receptive_field_tab import show_network
from wavenet.ui.watch import watch_events
from wavenet.ui.watch.watch_events import run_watch

from .test_watch_tab import SETTINGS, make_page


@pytest.fixture
def gru_root(make_checkpoint: Any) -> Path:
    """Return a folder with the checkpoints gru and tiny, a WaveNet."""
    config = GRUConfig(embedding_channels=8, hidden_channels=8, output_channels=8, condition_hop=7)
    make_checkpoint()
    folder: Path = make_checkpoint(config, name="gru").folder
    return folder.parent


def test_watch_refuses_before_it_generates(gru_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_events, "draw_first_codes", None)  # a call would be a TypeError
    updates = []
    with pytest.raises(gr.Error, match="needs a WaveNet"):
        for update in run_watch(make_page(gru_root), name="gru", form={"values": {}}, **SETTINGS):
            updates.append(update["step_view"])
    assert [list(message) for message in updates] == [["error"]]


def test_the_receptive_field_measures_influence_only(
    gru_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cone of a recurrent model is not drawn: the controls stay."""
    page = make_page(gru_root)
    assert choose_network(gru_root, choice=MODEL_ABOVE, name="gru") == {}
    controls = dict(choice=MODEL_ABOVE, name="gru", dilations="1, 2", kernel_size=2)
    controls |= dict(residual=8, gate=8, skip=8, sample_rate=8000)
    shown = show_network(page, convolution=CAUSAL_DILATED, **controls)
    assert "needs a WaveNet" in shown["facts"]
    assert "plot" not in shown
    monkeypatch.setattr(effective_field, "HORIZON", 100)
    *_, last = measure_influence(page, name="gru", form={"values": {}}, recording=None)
    message = last["influence"]
    assert (message["field"], message["limited"]) == (100, False)
    assert max(message["level"]) == 0
    assert message["cumulative"][-1] == 1
    *_, other = measure_influence(page, name="tiny", form={"values": {}}, recording=None)
    assert (other["influence"]["field"], other["influence"]["limited"]) == (11, True)


def test_the_models_tab_shows_the_architecture(gru_root: Path) -> None:
    card = shelf_html(gru_root, True).partition('data-model="gru"')[2].partition("<li")[0]
    assert "<dd>gru</dd>" in card
    assert "unlimited" in card
