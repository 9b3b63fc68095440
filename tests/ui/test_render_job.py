"""Renderings: streams equal the chain, loudness of dry and wet, stops, null tests, bad input."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from audio_utils.errors import AudioError
from audio_utils.lufs import clip_loudness
from wavenet.effects.example_riff import make_riff
from wavenet.effects.nam_model import NamModel
from wavenet.errors import ConditionError, ConfigError
from wavenet.ui.effects import render_job
from wavenet.ui.effects.effect_choices import choose_effect
from wavenet.ui.effects.measure_events import run_measurement
from wavenet.ui.effects.null_test_events import NEW_MINUS_OLD, WET_MINUS_DRY, run_null_test
from wavenet.ui.effects.render_events import run_render
from wavenet.ui.effects.render_job import RenderResult, make_chain_settings, make_render_job
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.page import Page

from .conftest import RATE, bare_page, tone
from .effect_folder import save_effect, save_nam

SETTINGS: dict[str, Any] = {
    "input_gain": 0, "output_trim": 0, "mix": 1, "oversampling": "1", "removes_offset": False
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("effects")
    save_effect(root / "drive", RATE)
    return root


@pytest.fixture
def model(folder: Path) -> NamModel:
    return choose_effect(folder, "drive", None).model_at([0.5])[0]


@pytest.fixture
def page(folder: Path, uploads: Path) -> Page:
    page = bare_page(folder)
    page.token = page.clips.visitor(None)  # type: ignore[assignment]
    return page


def make_job(model: NamModel, source: str | None = None, **changes: Any) -> Any:
    settings = make_chain_settings(*(SETTINGS | changes).values())
    return make_render_job("drive", model, {"gain": 0.5}, settings, source)


def render(page: Page, stop_requests: StopRequests | None = None, **values: Any) -> Iterator[Any]:
    given = {"effect": "drive", "upload": None, "recording": None, "cabinet": None}
    given |= SETTINGS | {"rendered": None, "job_number": 5, "token": page.token} | values
    return run_render(page, stop_requests or StopRequests(), **given)


def test_the_stream_is_the_sound_of_the_chain(model: NamModel) -> None:
    job = make_job(model)
    assert job.sample_rate == RATE
    blocks = list(RenderResult(job).stream())
    wet, dry = torch.cat(blocks).T.numpy()
    assert np.array_equal(dry, make_riff(RATE))
    assert np.array_equal(wet, job.chain.render(make_riff(RATE)))


def test_stereo_is_filtered_by_channel(model: NamModel, save_wav: Callable[..., str]) -> None:
    left, right = tone(0.5, 44_100), tone(0.5, 44_100, 1000)
    source = save_wav(np.stack([left, right], 1), 44_100, "di")
    job = make_job(model, source)
    result = RenderResult(job).complete()
    assert result.wet.shape == result.dry.shape == (2, 22_050)
    assert job.chain.resamples
    assert job.file_name == "di_drive.wav"
    mono = make_job(model, save_wav(left, 44_100, "left"))
    assert np.allclose(result.wet[0], RenderResult(mono).complete().wet[0], atol=1e-6)


def test_dry_and_wet_are_equally_loud(model: NamModel) -> None:
    result = RenderResult(make_job(model, input_gain=12)).complete()
    levels = [
        clip_loudness(torch.from_numpy(result.gains[name] * rows[0]), RATE)
        for name, rows in (("wet", result.wet), ("dry", result.dry))
    ]
    assert levels[0] == pytest.approx(levels[1], abs=0.1)
    assert max(result.gains["dry"] * float(np.abs(result.dry).max()), result.gains["wet"]) <= 1.0001


def test_the_load_is_measured(model: NamModel) -> None:
    result = RenderResult(make_job(model)).complete()
    assert 0 < result.load < 10
    assert result.speed == pytest.approx(1 / result.load)


def test_a_sound_beyond_full_scale_is_named(model: NamModel) -> None:
    assert not RenderResult(make_job(model, output_trim=-24)).complete().clipping_note()
    loud = RenderResult(make_job(model, input_gain=24, output_trim=24)).complete()
    peak = 20 * math.log10(float(np.abs(loud.wet).max()))
    assert f"{peak:.1f} dB beyond full scale" in loud.clipping_note()


def test_long_recordings_and_many_channels_are_refused(
    model: NamModel, save_wav: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConditionError, match=r"^many\.wav has 3 channels"):
        make_job(model, save_wav(np.zeros((100, 3)) + 0.1, name="many"))
    monkeypatch.setattr(render_job, "MAX_SECONDS", 0.1)
    with pytest.raises(AudioError, match=r"^[^/]*long\.wav"):
        make_job(model, save_wav(tone(0.5), name="long"))
    with pytest.raises(ConfigError, match="oversampling"):
        make_job(model, oversampling="3")


def test_an_output_that_is_not_finite_is_refused(model: NamModel) -> None:
    job = make_job(model)
    job.chain.process = lambda state, block: np.full_like(block, np.nan)
    with pytest.raises(ConditionError, match="not finite"):
        RenderResult(job).complete()


def test_a_press_of_render_streams_and_keeps_the_sound(page: Page) -> None:
    updates = list(render(page, knob_0=0.5))
    chunks = [u["player"] for u in updates if "pcm" in u.get("player", {})]
    assert [c["sequence"] for c in chunks] == list(range(len(chunks)))
    assert {c["channels"] for c in chunks} == {2}
    assert chunks[-1]["gains"].keys() == {"wet", "dry"}
    end = next(u for u in updates if u.get("player", {}).get("end"))
    assert "% of one core" in end["summary"]
    (clip,) = page.clips.clips(page.token)
    assert end["rendered"][0].path == str(clip.path)
    assert clip.title == "drive · gain 0.5 · example riff"
    assert soundfile.info(clip.path).subtype == "PCM_24"
    titles = [panel["title"] for panel in updates[-1]["viewer"]["panels"]]
    assert titles == ["Waveform", "Wet spectrogram", "Dry spectrogram", "Level"]


def test_a_stopped_rendering_is_kept_as_far_as_it_went(page: Page) -> None:
    stops = StopRequests()
    stops.add(5)
    assert not list(render(page, stops, knob_0=0.5))
    running = StopRequests()
    steps = render(page, running, knob_0=0.5)
    next(steps)
    running.add(5)
    list(steps)
    assert all(clip.source == "effect" for clip in page.clips.clips(page.token))


def test_errors_are_shown_in_the_player(page: Page) -> None:
    steps = render(page, effect="gone")
    assert next(steps)["player"]["error"] == "There is no effect 'gone'."
    with pytest.raises(gr.Error):
        next(steps)


def last_renderings(page: Page, *settings: dict[str, Any]) -> Any:
    rendered = None
    for values in settings:
        for update in render(page, rendered=rendered, knob_0=0.5, **values):
            rendered = update.get("rendered", rendered)
    return rendered


@pytest.mark.slow
def test_null_tests(page: Page) -> None:
    rendered = last_renderings(page, {"mix": 0, "output_trim": -6})
    found = run_null_test(page, token=page.token, kind=WET_MINUS_DRY, rendered=rendered)
    level = float(found["null_result"].split(">")[1].split(" dB")[0].replace("−", "-"))
    assert level < -90  # only the rounding of the file
    with pytest.raises(gr.Error, match="one rendering only"):
        run_null_test(page, token=page.token, kind=NEW_MINUS_OLD, rendered=rendered)
    rendered = last_renderings(page, {}, {})
    found = run_null_test(page, token=page.token, kind=NEW_MINUS_OLD, rendered=rendered)
    assert "equal, bit for bit" in found["null_result"]
    rendered = last_renderings(page, {}, {"output_trim": -6})
    found = run_null_test(page, token=page.token, kind=NEW_MINUS_OLD, rendered=rendered)
    # 20 log10((1 - 0.501) / 0.501)
    assert "−0.0 dB re this rendering" in found["null_result"]
    assert soundfile.info(found["null_sound"]["value"]).frames == 6 * RATE
    with pytest.raises(gr.Error, match="press Render first"):
        run_null_test(page, token=page.token, kind=WET_MINUS_DRY, rendered=None)
    Path(rendered[0].path).unlink()
    with pytest.raises(gr.Error, match="expired"):
        run_null_test(page, token=page.token, kind=WET_MINUS_DRY, rendered=rendered)


def test_the_measurement_is_drawn(page: Page, tmp_path: Path) -> None:
    values = {"effect": "drive", "upload": None, **SETTINGS}
    text = run_measurement(page, **values)["measured"]
    assert text.count("<svg") == 2
    assert text.count("<polyline") == 1 + 4
    assert "nan" not in text
    upload = str(save_nam(tmp_path / "odd.nam", rate=None))
    assert run_measurement(page, **(values | {"upload": upload}))["measured"].count("<svg") == 2
