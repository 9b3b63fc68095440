"""The public functions of effects, called as Gradio calls them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile

from wavenet.ui.effects.effect_api import make_apply_effect, make_check_effect_recordings
from wavenet.ui.effects.effect_choices import choose_effect
from wavenet.ui.effects.render_job import make_chain_settings, make_render_job
from wavenet.ui.studio_api import _save_file
from wavenet.ui.turns import Turns

from .conftest import RATE, tone
from .effect_folder import HOSTILE, save_nam
from .test_pair_training import write_pair
from .test_studio_api import upload


@pytest.fixture
def apply_effect(root: Path, uploads: Path) -> Any:
    return make_apply_effect(root, Turns(), _save_file)


def test_the_answer_is_the_sound_of_the_page(
    apply_effect: Any, root: Path, save_wav: Callable[..., str]
) -> None:
    source = save_wav(np.stack([tone(), tone(hertz=300)], 1), name="di")
    answer = apply_effect(upload(source), knobs={"gain": "0.75"}, input_gain_db="6", mix=0.5)
    model, setting = choose_effect(root, "overdrive", None).model_at([0.75])
    settings = make_chain_settings(6, 0, 0.5, 1)
    job = make_render_job("overdrive", model, setting, settings, source)
    samples, rate = soundfile.read(answer["path"], always_2d=True)
    assert rate == RATE
    assert np.allclose(samples.T, np.clip(job.chain.render(job.dry), -1, 1), atol=2e-7)
    assert Path(answer["path"]).name == "di_overdrive.wav"


def test_a_model_is_uploaded(
    apply_effect: Any, tmp_path: Path, save_wav: Callable[..., str]
) -> None:
    path = upload(save_nam(tmp_path / "amp.nam"))
    answer = apply_effect(upload(save_wav(tone())), model=path, oversampling=2)
    assert Path(answer["path"]).name == "tone_amp.wav"
    (tmp_path / "evil.nam").write_text(HOSTILE)
    with pytest.raises(gr.Error, match=r"evil\.nam: architecture"):
        apply_effect(upload(save_wav(tone())), model=upload(tmp_path / "evil.nam"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"effect": "gone"}, "no effect"),
        ({"effect": ["x"]}, "effect"),
        ({"knobs": {"tone": 0.5}}, "no knob tone"),
        ({"knobs": {"gain": 2}}, "0 to 1"),
        ({"knobs": {"gain": "x"}}, "gain"),
        ({"knobs": [1]}, "knobs"),
        ({"mix": 2}, "mix"),
        ({"input_gain_db": float("nan")}, "input"),
        ({"oversampling": 3}, "oversampling"),
        ({"model": {"path": "/etc/passwd"}}, "uploaded file"),
    ],
)
def test_invalid_settings_are_one_sentence(
    apply_effect: Any, save_wav: Callable[..., str], values: Any, text: str
) -> None:
    with pytest.raises(gr.Error, match=text):
        apply_effect(upload(save_wav(tone())), **values)


def test_the_report_is_that_of_the_command(tmp_path: Path, uploads: Path) -> None:
    check = make_check_effect_recordings()
    dry, wet = map(upload, write_pair(tmp_path))
    report = check(dry, wet)
    assert report["verdict"] == "warn"
    assert report["latency"] == 0
    assert {"latency", "polarity", "clipping"} <= {row["name"] for row in report["checks"]}
    with pytest.raises(gr.Error, match="same file"):
        check(dry, dry)
