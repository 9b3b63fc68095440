"""`wavenet effects render` and `info`: files, messages, and one sentence for every bad input."""

import json

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import assert_refused
from tests.effects.random_effects import array, container, encode, linear, lstm, wavenet
from wavenet.effects.nam_file import parse_nam
from wavenet.effects.rendering.chain_settings import ChainSettings
from wavenet.effects.rendering.effect_chain import EffectChain


@pytest.fixture
def amp(tmp_path):
    document = wavenet(array(channels=2), head_scale=0.3)
    metadata = {"loudness": -15.0, "input_level_dbu": 12.0, "modeled_by": "a person"}
    (tmp_path / "amp.nam").write_bytes(encode(document | {"metadata": metadata}))
    return tmp_path / "amp.nam"


@pytest.fixture
def dry(tmp_path, rng):
    path = tmp_path / "dry.wav"
    soundfile.write(path, 0.1 * rng.standard_normal((4800, 2)), 48_000, subtype="FLOAT")
    return path


def rendered(amp, dry, **settings):
    samples = soundfile.read(dry, dtype="float32", always_2d=True)[0].T
    chain = EffectChain(parse_nam(amp.read_bytes(), "amp"), 48_000, ChainSettings(**settings))
    return chain.render(samples).T


def test_a_stereo_recording_is_rendered(run_command, amp, dry, tmp_path):
    out = tmp_path / "new" / "wet.wav"
    command = ("effects", "render", dry, "--model", amp, "--out", out, "--remove-offset")
    assert run_command(*command) == (0, f"{out}\n", "")
    wet, rate = soundfile.read(out, always_2d=True)
    assert (rate, soundfile.info(out).subtype) == (48_000, "PCM_24")
    assert np.abs(wet - rendered(amp, dry, removes_offset=True)).max() < 1e-6


def test_all_options_reach_the_chain(run_command, amp, dry, tmp_path):
    out = tmp_path / "wet.wav"
    code, text, err = run_command(
        "effects", "render", dry, "-m", amp, "-o", out, "--input-gain", 3, "--interface-level", 10,
        "--match-loudness", "--mix", 0.7, "--trim", -2, "--oversample", 2, "--subtype", "FLOAT",
        "--remove-offset", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    expected = rendered(
        *(amp, dry),
        input_gain_db=1,
        matches_loudness=True,
        mix=0.7,
        trim_db=-2,
        oversampling=2,
        removes_offset=True,
    )
    wet, _ = soundfile.read(out, dtype="float32")
    assert np.abs(wet - expected).max() < 1e-6
    record = json.loads(text)
    assert record["file"] == str(out)
    assert record["peak"] == pytest.approx(float(np.abs(expected).max()), abs=1e-6)


def test_clipping_and_resampling_are_told(run_command, amp, tmp_path, rng):
    dry = tmp_path / "dry.flac"
    soundfile.write(dry, 0.5 * rng.standard_normal(9600), 96_000)
    out = tmp_path / "wet.wav"
    code, _, err = run_command("effects", "render", dry, "-m", amp, "-o", out, "--trim", 40)
    assert code == 0
    assert "resampled from 96000 Hz to the 48000 Hz of the model and back" in err
    assert "lower --trim by" in err


def test_bad_inputs_are_one_sentence(run_command, amp, dry, tmp_path):
    out, none = tmp_path / "wet.wav", tmp_path / "none.wav"
    common = ("effects", "render", dry, "--model", amp, "--out", out)
    silent, other = tmp_path / "silent.wav", tmp_path / "other.wav"
    soundfile.write(silent, np.zeros(100), 48_000)
    soundfile.write(other, np.ones(1000) * 0.1, 44_100)
    (tmp_path / "text.nam").write_text("no model")
    (tmp_path / "lstm.nam").write_bytes(encode(lstm()))

    def refuse(*arguments, **code):
        before = set(tmp_path.iterdir())
        words = arguments[-1] if isinstance(arguments[-1], tuple) else (arguments[-1],)
        assert_refused(run_command(*arguments[:-1]), *words, **code)
        assert set(tmp_path.iterdir()) == before

    render = ("effects", "render")
    refuse(*render, none, "-m", amp, "-o", out, f"Cannot read {none}", code=1)
    refuse(*render, tmp_path, "-m", amp, "-o", out, "is a folder", code=1)
    refuse(*render, dry, "-m", tmp_path / "none.nam", "-o", out, "does not exist", code=1)
    refuse(*render, dry, "-m", tmp_path / "text.nam", "-o", out, "is not JSON", code=1)
    refuse(*render, dry, "-m", dry, "-o", out, "is not UTF-8", code=1)
    refuse(*render, dry, "-m", tmp_path / "lstm.nam", "-o", out, "--oversample", 2, "LSTM")
    refuse(*render, other, "-m", amp, "-o", out, "--rate-policy", "refuse",
           "44100 Hz, the model 48000 Hz")  # fmt: skip
    refuse(*common, "--mix", 1.5, "the mix: expected 0")
    refuse(*common, "--trim", "loud", "--trim")
    refuse(*common, "--oversample", 3, "expected 1, 2 or 4, found 3")
    refuse(*common, "--ir", silent, "is silent", code=1)
    refuse(*common, "--ir", none, f"Cannot read {none}", code=1)
    refuse(*common, "--set", "gain=0.5", ("no knob gain", "it has no knobs"))
    refuse(*common, "--set", "gain", "--set expects NAME=VALUE")
    refuse(*common[:-1], dry, f"{dry} exists already")
    refuse(*common[:-1], tmp_path / "wet.aac", "expected a name ending in .wav")
    refuse(*common[:-1], tmp_path / "wet.flac", "--subtype", "FLOAT", "needs a .wav file")
    plain = tmp_path / "plain.nam"
    plain.write_bytes(encode(linear()))
    refuse(*render, dry, "-m", plain, "-o", out, "--interface-level", 12, "no input_level_dbu")


def test_a_newer_file_is_warned_about(run_command, dry, tmp_path):
    (tmp_path / "new.nam").write_bytes(encode(wavenet(array()) | {"version": "0.7.4"}))
    out = tmp_path / "wet.wav"
    code, _, err = run_command("effects", "render", dry, "-m", tmp_path / "new.nam", "-o", out)
    assert code == 0
    assert "WARNING" in err and "0.7.4" in err


def test_info_prints_a_table(run_command, amp):
    code, out, err = run_command("effects", "info", amp)
    assert code == 0
    rows = {line[:22].strip(): line[23:] for line in out.splitlines()}
    assert rows["architecture"] == "WaveNet"
    assert rows["sample rate"] == "48,000 Hz"
    assert rows["receptive field"] == "17 samples, 0.4 ms"
    assert rows["modeled by"] == "a person"
    assert rows["processor load"].endswith("% of one core (compiled engine)")
    assert "A capture belongs to its maker" in err


def test_info_has_the_licence_of_the_card(run_command):
    code, _, err = run_command("effects", "info", "overdrive")
    assert code == 0
    assert "bsd-3-clause" in err
    assert "A capture belongs" not in err


def test_an_offset_at_silence_is_told(run_command, dry, tmp_path):
    path = tmp_path / "offset.nam"
    path.write_bytes(encode(linear(taps=1) | {"weights": [1.0, 0.25]}))
    out = tmp_path / "wet.wav"
    command = ("effects", "render", dry, "-m", path, "-o", out, "--overwrite")
    _, _, err = run_command(*command)
    assert "offset of 0.25 (-12 dB)" in err
    kept = soundfile.read(out)[0].mean()
    _, _, err = run_command(*command, "--remove-offset")
    assert "offset" not in err
    assert soundfile.read(out)[0].mean() < kept - 0.2
    _, shown, _ = run_command("effects", "info", path)
    assert "offset at silence      0.25" in shown


def test_info_as_json_counts_every_part(run_command, tmp_path):
    small, large = wavenet(array(channels=1)), wavenet(array(channels=8))
    path = tmp_path / "both.nam"
    path.write_bytes(encode(container(small, large)))
    documents = []
    for size in (0, 1):
        code, out, _ = run_command("effects", "info", path, "--size", size, "--json")
        assert code == 0
        documents.append(json.loads(out))
    first, last = documents
    assert first["weights"] == last["weights"] == len(small["weights"]) + len(large["weights"])
    # 3 layers: 3 taps and the mixin; a 1x1 in all but the last; rechannel and head
    assert [d["multiply_adds"] for d in documents] == [3 * 4 + 2 + 2, 3 * (192 + 8) + 2 * 64 + 16]
    assert (first["sizes"], first["architecture"]) == (2, "SlimmableContainer")
    assert_refused(run_command("effects", "info", tmp_path / "none.nam"), "does not exist", code=1)
