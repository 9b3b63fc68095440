"""`wavenet vocode`, and `--frames` and `--beams` of `wavenet generate`."""

import json

import numpy as np
import pytest
import soundfile
import torch

from tests.cli.conftest import assert_refused
from tests.conftest import RATE, overflow, sine, tiny_config
from wavenet import checkpoint
from wavenet.model.conditions import FramesCondition, LabelCondition, MelCondition

HOP = 80


@pytest.fixture
def vocoder(make_checkpoint):
    """Return the folder of an untrained checkpoint conditioned on mel frames."""
    mel = MelCondition(n_mels=20, win_length=256, channels=4, context=1)
    config = tiny_config(hop=HOP).model_copy(update={"conditions": (mel,)})
    return make_checkpoint(config, name="vocoder").folder


@pytest.fixture
def curve(make_checkpoint):
    """Return the folder of a checkpoint conditioned on frames of three numbers."""
    config = tiny_config(conditions="frames", hop=HOP)
    return make_checkpoint(config, name="curve").folder


def test_a_resynthesised_recording_has_the_same_length(run_command, vocoder, tone, tmp_path):
    outs = [tmp_path / f"{n}.wav" for n in range(3)]
    for out, seed in zip(outs, (1, 1, 2), strict=True):
        code, shown, _ = run_command(
            "vocode", tone, "--checkpoint", vocoder, "--seed", seed, "--out", out
        )
        assert (code, shown) == (0, f"{out}\n")
        assert soundfile.info(out).frames == soundfile.info(tone).frames
    assert outs[0].read_bytes() == outs[1].read_bytes() != outs[2].read_bytes()


def test_candidates_change_the_clip(run_command, vocoder, tone, tmp_path):
    made = {}
    for count in (1, 8):
        out = tmp_path / f"{count}.wav"
        common = ("vocode", tone, "--checkpoint", vocoder, "--out", out, "--json")
        code, shown, _ = run_command(*common, "--candidates", count)
        assert code == 0
        assert json.loads(shown)["bits_per_sample"] > 0
        made[count] = soundfile.read(out)[0]
        assert made[count].shape == soundfile.read(tone)[0].shape
    assert (made[1] != made[8]).any()
    common = ("vocode", tone, "--checkpoint", vocoder, "--out", tmp_path / "x.wav")
    assert_refused(run_command(*common, "--candidates", 99), "candidates must be 1 to 64, found 99")
    assert not (tmp_path / "x.wav").exists()


def test_weights_that_overflow_are_refused_and_nothing_is_written(
    run_command, vocoder, tiny, tone, tmp_path
):
    overflow(vocoder)
    overflow(tiny)
    out = tmp_path / "new/x.wav"
    commands = [
        ("vocode", tone, "--checkpoint", vocoder),
        ("vocode", tone, "--checkpoint", vocoder, "--candidates", 2),
        ("generate", "--checkpoint", tiny, "--set", "digit=a"),
        ("generate", "--checkpoint", tiny, "--set", "digit=a", "--engine", "cached", "--no-guard"),
        ("generate", "--checkpoint", tiny, "--set", "digit=a", "--beams", 2),
    ]
    for command in commands:
        code, printed, err = run_command(*command, "--out", out)
        assert (code, printed) == (1, "")
        assert "not finite" in err.splitlines()[-1]
    common = ("--set", "digit=a", "--count", 2, "--out", out.parent)
    code, printed, err = run_command("generate", "--checkpoint", tiny, *common)
    assert (code, printed) == (1, "")
    assert "not finite" in err.splitlines()[-1]
    assert not out.parent.exists()


def test_mel_matching_is_on_by_default_and_can_be_turned_off(
    run_command, vocoder, curve, tone, tmp_path
):
    from audio_utils import io
    from wavenet.model.frame_features import compute_frame_features

    config = checkpoint.load_config(vocoder).model
    target = compute_frame_features(config, RATE, io.read(tone, RATE).waveform)
    distance = {}
    option = "--mel-matching-iterations"
    for name, given in {"plain": (option, 0), "default": (), "one": (option, 1)}.items():
        out = tmp_path / f"{name}.wav"
        assert run_command("vocode", tone, "--checkpoint", vocoder, *given, "--out", out)[0] == 0
        made = compute_frame_features(config, RATE, io.read(out, RATE).waveform)
        distance[name] = float((made - target).abs().mean())
    assert distance["default"] < distance["one"] < distance["plain"]
    array = tmp_path / "curve.npy"
    np.save(array, np.zeros((5, 3), np.float32))
    common = ("vocode", array, "--checkpoint", curve, "--out", tmp_path / "curve.wav")
    assert_refused(run_command(*common, option, 3), "mel condition")
    assert run_command(*common)[0] == 0


def test_the_checkpoint_determines_the_features(run_command, vocoder, tone, tmp_path):
    """Frames in dB computed by the test give the same clip; other frames give another."""
    from audio_utils import io
    from wavenet.model.frame_features import compute_frame_features

    config = checkpoint.load_config(vocoder)
    frames = compute_frame_features(config.model, RATE, io.read(tone, RATE).waveform)
    array = tmp_path / "frames.npy"
    made = {}
    decibels = frames.numpy() * 30 - 30
    for name, source in (("given", decibels), ("other", decibels[::-1] - 30.0)):
        np.save(array, source)
        code, _, _ = run_command(
            "vocode", array, "--checkpoint", vocoder, "--out", tmp_path / f"{name}.wav"
        )
        assert code == 0
        made[name] = soundfile.read(tmp_path / f"{name}.wav")[0]
    run_command("vocode", tone, "--checkpoint", vocoder, "--out", tmp_path / "tone.wav")
    tone_again = soundfile.read(tmp_path / "tone.wav")[0]
    assert np.array_equal(made["given"], tone_again[: len(made["given"])])
    assert not np.array_equal(made["other"], made["given"])


def test_frames_in_another_scale_are_refused_unless_it_is_stated(run_command, vocoder, tmp_path):
    """Decibels were taken as normalised frames: saturated noise, and exit code 0."""
    from audio_utils.features import mel_spectrogram
    from wavenet.model.frame_features import mel_settings

    config, rng = checkpoint.load_config(vocoder), np.random.default_rng(0)
    sound = torch.from_numpy(rng.standard_normal(2000)).float() * 0.01
    mel = config.model.locals[0]
    power = mel_spectrogram(sound, mel_settings(mel, RATE, HOP)).T.numpy()
    array, made = tmp_path / "frames.npy", {}
    scales = {"db": 10 * np.log10(power), "ln": np.log(power), "power": power}
    scales["model"] = (scales["db"] + 30) / 30
    for command in ("vocode", "generate"):
        given = (array,) if command == "vocode" else ("--frames", f"mel={array}")
        for scale, frames in scales.items():
            np.save(array, frames)
            out = tmp_path / f"{command}-{scale}.wav"
            # greedy: rounding of the frames rarely changes a code
            common = (command, *given, "--checkpoint", vocoder, "--out", out, "--greedy")
            if scale != "db":
                assert_refused(run_command(*common), "looks like", "--frames-scale")
                assert not out.exists()
                common += ("--frames-scale", scale)
            assert run_command(*common)[0] == 0
            made[command, scale] = soundfile.read(out)[0]
            difference = np.abs(made[command, scale] - made[command, "db"]).max()
            assert difference < 1e-3, (command, scale)
        np.save(array, scales["db"])
        for scale in ("ln", "log10", "model"):
            out = tmp_path / f"{command}-decibels-as-{scale}.wav"
            common = (command, *given, "--checkpoint", vocoder, "--out", out)
            result = run_command(*common, "--frames-scale", scale)
            assert_refused(result, f"in {scale}, which looks like decibels")
    np.save(array, scales["db"] - 40)
    out = tmp_path / "other.wav"
    assert run_command("vocode", array, "--checkpoint", vocoder, "--out", out, "--greedy")[0] == 0
    assert np.abs(soundfile.read(out)[0] - made["vocode", "db"]).max() > 0.01  # negative control
    soundfile.write(tmp_path / "s.wav", sound.numpy(), RATE)
    words = "--frames-scale is for frames"
    result = run_command(
        "vocode", tmp_path / "s.wav", "--checkpoint", vocoder, "--frames-scale", "ln"
    )
    assert_refused(result, words)


def test_transposed_frames_are_named(run_command, vocoder, tmp_path):
    np.save(tmp_path / "t.npy", np.full((20, 31), -40.0))
    result = run_command("vocode", tmp_path / "t.npy", "--checkpoint", vocoder)
    assert_refused(result, "found 20 x 31, which is 20 x frames: transpose it")


def test_frames_determine_the_length_of_the_clip(run_command, curve, tmp_path):
    array, out = tmp_path / "c.npy", tmp_path / "out.wav"
    np.save(array, np.random.default_rng(0).standard_normal((11, 3)))
    settings = ("generate", "--checkpoint", curve, "--frames", f"curve={array}", "--out", out)
    code, shown, _ = run_command(*settings, "--json")
    assert code == 0
    assert json.loads(shown)["seconds"] == 10 * HOP / RATE
    assert_refused(run_command(*settings), "exists already")
    result = run_command(*settings, "--overwrite", "--seconds", 0.5)
    assert_refused(result, "51 frames x 3", "found 11 x 3")


def test_invalid_frames_are_refused(run_command, curve, vocoder, tiny, tone, tmp_path):
    array, out = tmp_path / "c.npy", ("--out", tmp_path / "out.wav")
    assert_refused(run_command("generate", "--checkpoint", curve, *out), "--frames curve=FILE.npy")
    assert_refused(
        run_command("vocode", tone, "--checkpoint", tiny, *out), "not conditioned on frames"
    )
    words = "'curve' is missing; add an array with one row every"
    assert_refused(run_command("vocode", tone, "--checkpoint", curve, *out), words)
    np.save(array, np.zeros((5, 2)))
    assert_refused(
        run_command("vocode", array, "--checkpoint", curve, *out), "frames x 3; found 5 x 2"
    )
    assert_refused(
        run_command("vocode", tmp_path / "no.npy", "--checkpoint", curve, *out), "no.npy"
    )
    array.write_bytes(b"RIFF")
    assert_refused(
        run_command("vocode", array, "--checkpoint", vocoder, *out), "cannot be read as an array"
    )
    frames = ("--frames", f"curve={array}", "--frames", "curve=x.npy")
    assert_refused(
        run_command("generate", "--checkpoint", curve, *frames, *out), "--frames", "curve twice"
    )
    assert not (tmp_path / "out.wav").exists()


def test_several_arrays_are_passed_by_name(run_command, make_checkpoint, tmp_path):
    frames = tuple(FramesCondition(name=name, columns=2, channels=4) for name in ("a", "b"))
    config = tiny_config(hop=HOP).model_copy(update={"conditions": frames})
    both = make_checkpoint(config, name="both").folder
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 2)))
    arguments = ("--checkpoint", both, "--out", tmp_path / "out.wav")
    assert_refused(run_command("vocode", tmp_path / "a.npy", *arguments), "frames of a, b")
    given = [part for name in ("a", "b") for part in ("--frames", f"{name}={tmp_path / name}.npy")]
    assert run_command("generate", *given, *arguments)[0] == 0


def test_beam_search_finds_a_more_likely_clip_and_prints_its_probability(
    run_command, tiny, tmp_path
):
    given = ("--checkpoint", tiny, "--set", "digit=a")
    bits = {}
    for option in ("--beams", "--seed"):
        out = tmp_path / f"{option[2:]}.wav"
        code, _, err = run_command("generate", *given, "--seconds", 0.01, option, 4, "--out", out)
        assert code == 0
        scored = run_command("score", *given, out, "--json")[1].splitlines()
        bits[option] = json.loads(scored[-1])["bits_per_sample"]
        if option == "--beams":
            printed = float(err.split(" nats, ")[1].split()[0])
    assert bits["--beams"] == pytest.approx(printed, abs=1e-3)
    assert bits["--beams"] < bits["--seed"] - 0.5
    many = ("generate", *given, "--beams", 4, "--count", 2)
    assert_refused(run_command(*many, "--out", tmp_path), "returns one clip; omit --count")


def test_info_prints_every_condition_with_its_values(run_command, make_checkpoint):
    folder = make_checkpoint(tiny_config(conditions="all", hop=HOP), name="all").folder
    facts = json.loads(run_command("info", folder, "--json")[1])["conditions"]
    assert facts["voice"] == ["a", "b", "c"]
    assert facts["level"] == "-40 to 0 dB"
    assert facts["timbre"] == "4 numbers"
    assert facts["curve"] == "frames x 3, one every 80 samples"
    shown = run_command("info", folder)[1]
    assert "voice: a b c; level: -40 to 0 dB; timbre: 4 numbers; curve: frames x 3" in shown


def test_guidance_on_the_command_line(run_command, make_checkpoint, tiny, tmp_path):
    conditions = (LabelCondition(name="digit", values=("a", "b"), channels=4, dropout=0.1),)
    config = tiny_config(hop=HOP).model_copy(update={"conditions": conditions})
    folder = make_checkpoint(config, name="free").folder
    made = {}
    for guidance in (1, 4):
        out = tmp_path / f"{guidance}.wav"
        code, _, _ = run_command(
            "generate", "--checkpoint", folder, "--set", "digit=a", "--seconds", 0.1,
            "--guidance", guidance, "--no-guard", "--out", out,
        )  # fmt: skip
        assert code == 0
        made[guidance] = out.read_bytes()
    assert made[1] != made[4]
    words = "condition dropout"
    given = ("generate", "--checkpoint", tiny, "--set", "digit=a", "--out", tmp_path / "x.wav")
    assert_refused(run_command(*given, "--guidance", 2), words)
    assert_refused(run_command(*given, "--guidance", -1), "guidance")


def test_the_record_has_the_bits_per_sample_without_the_prompt(
    run_command, vocoder, tiny, tone, tmp_path
):
    given = ("--checkpoint", tiny, "--set", "digit=a", "--json")
    alone = tmp_path / "alone.wav"
    record = json.loads(run_command("generate", *given, "--seconds", 0.1, "--out", alone)[1])
    scored = json.loads(run_command("score", *given, alone)[1].splitlines()[-1])
    assert record["bits_per_sample"] == pytest.approx(scored["bits_per_sample"], abs=0.02)
    longer = tmp_path / "longer.wav"
    more = ("--seconds", 0.1, "--prompt", tone, "--out", longer)
    record = json.loads(run_command("generate", *given, *more)[1])
    whole = json.loads(run_command("score", *given, longer)[1].splitlines()[-1])
    # The record has the bits of the new part only.
    assert abs(record["bits_per_sample"] - whole["bits_per_sample"]) > 0.05
    again = tmp_path / "again.wav"
    record = run_command("vocode", tone, "--checkpoint", vocoder, "--json", "--out", again)[1]
    assert 1 < json.loads(record)["bits_per_sample"] < 20


def test_a_loud_recording_is_reported_or_scaled(run_command, vocoder, tmp_path):
    stereo = np.stack([6 * sine(0.1).numpy(), sine(0.1).numpy()], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE, subtype="FLOAT")
    line = ("vocode", tmp_path / "a.wav", "--checkpoint", vocoder, "--channel", "left")
    code, _, err = run_command(*line, "--out", tmp_path / "b.wav")
    assert code == 0
    assert "left of 2 channels" in err
    assert "the largest by 9.5 dB; --normalize" in err
    code, _, err = run_command(*line, "--normalize", "--out", tmp_path / "c.wav")
    assert code == 0
    assert "scaled by -9.5 dB" in err


def test_output_limited_after_mel_matching_is_reported(run_command, vocoder, tone, monkeypatch):
    monkeypatch.setattr(
        "wavenet.generation.clip_mel_matching.match_mel", lambda waveform, *rest: waveform * 0 - 2
    )
    code, _, err = run_command("vocode", tone, "--checkpoint", vocoder, "--out", tone.parent / "b")
    assert code == 0
    assert "after mel matching: limited 2,400 samples beyond full scale, the largest by 6.0" in err
