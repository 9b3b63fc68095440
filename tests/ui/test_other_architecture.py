"""The tabs with a checkpoint that is not a WaveNet: what each of them shows."""

from pathlib import Path
from typing import Any

import pytest
import torch

from wavenet.likelihood import effective_field
from wavenet.model.conditions import RasterCondition
from wavenet.model.pixel_cnn import PixelCNNConfig
from wavenet.model.recurrent import GRUConfig
from wavenet.sampling import SamplingConfig, draw_codes
from wavenet.ui.model_bar.model_bar import describe_model
from wavenet.ui.models.model_shelf import model_facts, shelf_html
from wavenet.ui.receptive_field.influence_measurement import measure_influence
from wavenet.ui.receptive_field.network_facts import CAUSAL_DILATED
from wavenet.ui.receptive_field.network_settings import MODEL_ABOVE, choose_network
from wavenet.ui.receptive_field.receptive_field_tab import show_network

from .test_watch_tab import logits_of, make_page, unpack, watch


@pytest.fixture
def gru_root(make_checkpoint: Any) -> Path:
    """Return a folder with the checkpoints gru and tiny, a WaveNet."""
    config = GRUConfig(embedding_channels=8, hidden_channels=8, output_channels=8, condition_hop=7)
    make_checkpoint()
    folder: Path = make_checkpoint(config, name="gru").folder
    return folder.parent


def test_watch_shows_predictions_without_heat_maps(gru_root: Path) -> None:
    *_, message = watch(gru_root, "gru", {})
    assert message["layers"] is None
    assert message["receptiveField"] is None
    assert (message["first"], message["count"], message["context"]) == (400, 30, 400)
    codes = torch.from_numpy(unpack(message["codes"], "<u2").astype("i8"))
    uniforms = torch.from_numpy(unpack(message["noise"], "<f4").copy())
    assert torch.equal(draw_codes(logits_of(message), uniforms, SamplingConfig()), codes)


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


def test_a_model_of_images_has_the_pixels_that_it_reads_and_a_raster(make_checkpoint: Any) -> None:
    raster = RasterCondition(height=5, width=6)
    config = PixelCNNConfig(
        height=5,
        width=6,
        channels=4,
        layers=2,
        output_channels=4,
        condition_hop=1,
        conditions=(raster,),
    )
    loaded = make_checkpoint(config, bits=4)
    reads = "the pixels before, up to 3 rows above, without the blind spot"
    assert reads in describe_model(loaded)
    facts = model_facts(loaded.config)
    assert facts["Receptive field"] == reads
    assert facts["Condition: raster"] == "row and column in an image of 5 x 6 pixels"
