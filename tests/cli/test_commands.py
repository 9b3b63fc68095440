"""The commands, run in this process: their files, their output and their errors."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_utils import io
from audio_utils.levels import CHANNELS
from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine
from wavenet import checkpoint
from wavenet.cli.main import app
from wavenet.cli.options import ChannelChoice
from wavenet.errors import DataError
from wavenet.likelihood.score import score

COMMANDS = [
    "generate",
    "batch",
    "vocode",
    "play",
    "score",
    "surprise",
    "which",
    "train",
    "models",
    "info",
    "analyse",
    "bench",
]
COMMANDS += ["import", "compress", "decompress", "verify", "ui", "doctor", "phones", "speak"]
GROUPS = ["data", "evaluate", "compare", "images", "autoencoder", "effects", "hub"]


def test_help_imports_no_large_package():
    code = (
        "import sys; from wavenet.cli.main import run; code = run(['--help']);"
        "heavy = {'torch', 'numpy', 'gradio', 'librosa'} & set(sys.modules);"
        "sys.exit(code or (3 if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS])
def test_every_command_has_help(run_command, name):
    code, out, _ = run_command(name, "--help")
    assert code == 0
    assert "--help" in out
    assert "<bool>" not in out  # of an option without a value
    assert run_command(name, "-h") == (0, out, "")


def test_a_page_for_users_names_every_command(request):
    docs = request.config.rootpath / "docs"
    pages = [docs / "installation.md", *(docs / "guides").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    names = [command.name for command in app.registered_commands]
    assert names == COMMANDS
    groups = [group.name for group in app.registered_groups]
    assert groups == GROUPS
    assert [name for name in names + groups if f"wavenet {name}" not in text] == []


def test_generate_writes_the_same_file_for_the_same_seed(run_command, tiny, tmp_path):
    paths = [tmp_path / "one.wav", tmp_path / "two.wav", tmp_path / "three.wav"]
    for path, seed in zip(paths, (3, 3, 4), strict=True):
        code, out, _ = run_command(
            "generate", "--checkpoint", tiny, "--set", "digit=a", "--seconds", 0.1,
            "--seed", seed, "--out", path,
        )  # fmt: skip
        assert (code, out) == (0, f"{path}\n")
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()
    info = soundfile.info(paths[0])
    assert (info.frames, info.samplerate, info.subtype) == (800, RATE, "PCM_16")


def test_generate_prints_a_record_of_each_of_several_clips(run_command, tiny, tmp_path):
    code, out, _ = run_command(
        "generate", "--checkpoint", tiny, "--set", "digit=b", "--seconds", 0.02,
        "--seed", 7, "--count", 3, "--out", tmp_path / "new", "--json",
    )  # fmt: skip
    assert code == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [r["seed"] for r in records] == [7, 8, 9]
    names = sorted(p.name for p in (tmp_path / "new").iterdir())
    assert names == [f"tiny_b_seed{n}.wav" for n in (7, 8, 9)]
    one = tmp_path / "one.wav"
    run_command(
        "generate", "--checkpoint", tiny, "--set", "digit=b", "--seconds", 0.02, "--seed", 8,
        "--out", one,
    )  # fmt: skip
    assert one.read_bytes() == (tmp_path / "new" / "tiny_b_seed8.wav").read_bytes()


def test_generate_resamples_a_prompt_and_reports_it(run_command, tiny, tmp_path):
    stereo = tmp_path / "stereo.wav"
    soundfile.write(stereo, np.stack([sine(0.2, rate=16_000)] * 2, axis=1), 16_000)
    common = ("generate", "--checkpoint", tiny, "--set", "digit=a", "--seconds", 0.05,
              "--prompt", stereo)  # fmt: skip
    code, _, err = run_command(*common, "--out", tmp_path / "with.wav")
    assert code == 0
    assert "mixed 2 channels to one, resampled 16000 Hz to 8000 Hz" in err
    assert soundfile.info(tmp_path / "with.wav").frames == 2000
    run_command(*common, "--without-prompt", "--out", tmp_path / "new.wav")
    new, whole = (soundfile.read(tmp_path / f"{n}.wav")[0] for n in ("new", "with"))
    assert np.array_equal(whole[1600:], new)


def test_generate_does_not_replace_a_file(run_command, tiny, tone, tmp_path):
    before = tone.read_bytes()
    common = ("generate", "--checkpoint", tiny, "--set", "digit=a", "--out", tone)
    assert_refused(run_command(*common), "exists already", "--overwrite")
    assert tone.read_bytes() == before
    assert run_command(*common, "--overwrite")[0] == 0
    assert tone.read_bytes() != before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "digit=z"], ["digit cannot be 'z'", "a, b, c"]),
        ([], ["the label 'digit' is missing"]),
        (["--set", "digit"], ["NAME=VALUE", "'digit'"]),
        (["--set", "digit=a", "--set", "digit=b"], ["twice"]),
        (["--set", "digit=a", "--set", "x=1"], ["no condition 'x'"]),
        (["--set", "digit=a", "--seconds", "0"], ["at least 0.001", "found 0"]),
        (["--set", "digit=a", "--seconds", "1e-9"], ["at least 0.001", "found 1e-09"]),
        (["--set", "digit=a", "--seconds", "3600"], ["at most 600", "found 3600"]),
        (["--set", "digit=a", "--temperature", "0"], ["temperature", "found 0"]),
        (["--set", "digit=a", "--temperature", "-1"], ["temperature", "found -1"]),
        (["--set", "digit=a", "--temperature", "nan"], ["temperature"]),
        (["--set", "digit=a", "--top-p", "0"], ["top_p"]),
        (["--set", "digit=a", "--top-p", "1.5"], ["top_p", "1.5"]),
        (["--set", "digit=a", "--top-k", "0"], ["top_k"]),
        (["--set", "digit=a", "--engine", "warp"], ["'warp' is not known", "cached"]),
        (["--set", "digit=a", "--count", "0"], ["--count", "found 0"]),
        (["--set", "digit=a", "--seed", "-4"], ["the seed must be 0 to"]),
    ],
)
def test_generate_refuses_invalid_options(run_command, tiny, tmp_path, options, words):
    out = tmp_path / "folder" / "out.wav"
    result = run_command("generate", "--checkpoint", tiny, "--out", out, *options)
    assert_refused(result, *words)
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("words", "example"),
    [
        (["7"], "`--set digit=7`"),
        (["7", "theo"], "`--set digit=7`"),
        (["seven"], "`--set digit=7`"),
        (["speaker=theo"], "`--set speaker=theo`"),
    ],
)
def test_generate_tells_how_to_set_a_condition(run_command, words, example):
    assert_refused(run_command("generate", *words), f"({' '.join(words)})", example)


@pytest.mark.parametrize("words", [["models", "7"], ["vocode", "a.wav", "7"]])
def test_other_commands_do_not_tell_how_to_set_a_condition(run_command, words):
    result = run_command(*words)
    assert_refused(result, "(7); see", f"`wavenet {words[0]} --help`")
    assert "--set" not in result[2]


def test_generate_refuses_invalid_prompts(run_command, tiny, tmp_path):
    text, silent, short = (tmp_path / n for n in ("text.wav", "silent.wav", "short.wav"))
    text.write_text("this is text and not audio\n" * 50)
    soundfile.write(silent, np.zeros(4000), RATE)
    soundfile.write(short, np.full(3, 0.5), RATE)
    common = ("generate", "--checkpoint", tiny, "--set", "digit=a", "--out", tmp_path / "o.wav")
    assert_refused(run_command(*common, "--prompt", text), str(text), code=1)
    assert_refused(run_command(*common, "--prompt", tmp_path / "none.wav"), "none.wav", code=1)
    assert_refused(run_command(*common, "--prompt", silent), "silent")
    assert_refused(run_command(*common, "--prompt", short), "3 samples")
    assert not (tmp_path / "o.wav").exists()


def test_generate_refuses_invalid_checkpoints_and_folders(run_command, tiny, tone, tmp_path):
    common = ("generate", "--set", "digit=a")
    assert_refused(
        run_command(*common, "--checkpoint", tmp_path / "none", "--out", tmp_path / "o.wav"),
        str(tmp_path / "none"),
        code=1,
    )
    assert_refused(
        run_command(*common, "--checkpoint", tiny, "--out", tone / "below" / "o.wav"),
        "cannot be written",
    )
    weights = tiny / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert_refused(
        run_command(*common, "--checkpoint", tiny, "--out", tmp_path / "o.wav"),
        "model.safetensors",
        code=1,
    )
    assert not (tmp_path / "o.wav").exists()


def test_score_prints_each_file_and_the_total(run_command, tiny, tone, tmp_path):
    code, out, _ = run_command("score", tone, "--checkpoint", tiny, "--set", "digit=a", "--json")
    assert code == 0
    file, total = (json.loads(line) for line in out.splitlines())
    assert file["file"] == str(tone)
    assert total == {**file, "file": "total"}
    assert total["samples"] == 2400
    other = json.loads(
        run_command("score", tone, "--checkpoint", tiny, "--set", "digit=b", "--json")[
            1
        ].splitlines()[1]
    )
    assert other["bits_per_sample"] != total["bits_per_sample"]


def test_score_reads_labels_from_a_pattern_or_a_table(run_command, tiny, tone):
    expected = run_command("score", tone, "--checkpoint", tiny, "--set", "digit=a")[1]
    pattern = "{digit}_{what}_{index}"
    assert run_command("score", tone, "--checkpoint", tiny, "--pattern", pattern)[1] == expected
    table = tone.parent / "labels.csv"
    table.write_text(f"file_name,digit\n{tone.name},a\n")
    assert run_command("score", tone, "--checkpoint", tiny, "--metadata", table)[1] == expected
    # relative to the folder of the files, as in the other commands
    assert run_command("score", tone, "--checkpoint", tiny, "--metadata", table.name)[1] == expected
    table.write_text("file_name,digit\nother.wav,a\n")
    assert_refused(
        run_command("score", tone, "--checkpoint", tiny, "--metadata", table),
        "does not list",
        code=1,
    )


@pytest.mark.parametrize("column", ["Digit", "DIGIT", " digit"])
def test_columns_of_a_table_are_understood_in_any_case(run_command, tiny, tone, column):
    """Regression: the column was dropped, and the clip scored without labels."""
    expected = run_command("score", tone, "--checkpoint", tiny, "--set", "digit=a")[1]
    table = tone.parent / "labels.csv"
    table.write_text(f"file_name;{column}\n{tone.name};a\n")
    assert run_command("score", tone, "--checkpoint", tiny, "--metadata", table)[1] == expected
    table.write_text(f"file_name;digitt\n{tone.name};a\n")
    result = run_command("score", tone, "--checkpoint", tiny, "--metadata", table)
    assert_refused(result, "no field 'digit', but a field 'digitt'", code=1)
    table.write_text(f"file_name;colour\n{tone.name};a\n")
    _, _, err = run_command("score", tone, "--checkpoint", tiny, "--metadata", table)
    assert "no field is a label of the model: found colour; expected digit" in err


def test_score_counts_a_file_that_is_given_in_several_ways_once(
    run_command, tiny, tone, tmp_path, monkeypatch
):
    """Regression: each of them counted in the total."""
    other, link = tmp_path / "b_other_0.wav", tmp_path / "links" / "b_link_0.wav"
    soundfile.write(other, sine(0.1).numpy(), RATE)
    link.parent.mkdir()
    link.symlink_to(other)
    monkeypatch.chdir(tmp_path)
    common = ("--checkpoint", tiny, "--set", "digit=a")
    expected = run_command("score", tone, other, *common)
    assert "more than once" not in expected[2]
    ways = (tone.name, tone, f"./links/../{tone.name}", other, link, tmp_path)
    code, out, err = run_command("score", *ways, *common)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        line.split()[0] for line in expected[1].splitlines()
    ]
    assert out.splitlines()[-1] == expected[1].splitlines()[-1]
    assert "2 files were given more than once and scored once, for example" in err
    _, _, err = run_command("score", tone, tone.name, *common)
    assert f"1 file was given more than once and scored once, for example {tone.name}\n" in err


def test_score_takes_the_fields_of_a_repeated_file_from_the_folder_with_a_table(
    run_command, tiny, tone
):
    (tone.parent / "metadata.csv").write_text(f"file_name,digit\n{tone.name},b\n")
    expected = run_command("score", tone.parent, "--checkpoint", tiny)[1].splitlines()
    for files in ((tone, tone.parent), (tone.parent, tone)):
        code, out, _ = run_command("score", *files, "--checkpoint", tiny)
        assert (code, out.splitlines()[-1]) == (0, expected[-1])


def test_score_counts_the_files_of_a_folder_that_it_leaves_out(run_command, tiny, tone):
    (tone.parent / "b.tta").touch()
    (tone.parent / "a_b.wav").touch()
    command = ("score", tone.parent, "--checkpoint", tiny, "--pattern", "{digit}_{what}_{index}")
    code, out, err = run_command(*command)
    assert (code, len(out.splitlines())) == (0, 2)
    assert "left out: the name does not fit the pattern: 1 file: a_b.wav (2 parts" in err
    assert "WARNING: 2 of 3 audio files (67%) are left out" in err


def test_score_skips_unreadable_files_with_exit_code_3(run_command, tiny, tone, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF nothing")
    code, out, err = run_command("score", bad, tone, "--checkpoint", tiny, "--set", "digit=a")
    assert code == 3
    assert len(out.splitlines()) == 2
    assert "skipped: " in err
    assert "1 of 2 files" in err


def test_info_prints_the_receptive_field_and_the_labels(run_command, tiny):
    facts = json.loads(run_command("info", tiny, "--json")[1])
    assert facts["sampling"] == {"temperature": "1", "guidance": "1"}
    assert facts["receptive_field"] == 11
    assert facts["receptive_field_ms"] == pytest.approx(1.4)
    assert facts["conditions"] == {"digit": ["a", "b", "c"]}
    code, out, _ = run_command("info", tiny)
    assert code == 0
    assert "digit: a b c" in out


def test_analyse_saves_four_plots(run_command, tone, tmp_path):
    code, out, _ = run_command("analyse", tone, "--out", tmp_path / "plots", "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["seconds"] == pytest.approx(0.3)
    assert facts["peak"] == pytest.approx(0.5, abs=0.001)
    names = sorted(p.name for p in (tmp_path / "plots").iterdir())
    assert names == [f"a_tone_0_{n}.png" for n in ("mel", "mfcc", "spectrogram", "waveform")]


def test_doubtful_labels_are_printed_before_the_first_step(run_command, tmp_path, monkeypatch):
    """Regression: unquoted commas created voices such as " twice." without a message."""
    rows = ["file_name,Voice"]
    for n, voice in enumerate(("ann", "ann", "bob", "bob", "ann", '" twice."')):
        soundfile.write(tmp_path / f"{n}.wav", sine(0.1), RATE)
        rows.append(f"{n}.wav,{voice}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    monkeypatch.setattr("wavenet.training.loop.train", lambda *arguments: pytest.fail("trained"))
    monkeypatch.setattr("wavenet.training.training_setup.CodeLikelihoodTask", _refuse)
    command = ("train", "tiny", "--data", tmp_path, "--metadata", "list.csv", "--label", "voice")
    code, out, err = run_command(*command, "--out", tmp_path / "run")
    assert (code, out) == (1, "")
    for line in (
        "doubtful label: voice: 3 values in 6 recordings: 'ann', 'bob', 'twice.'",
        "doubtful label: voice: 1 value of 3 in only one recording: 'twice.'",
    ):
        assert line in err.splitlines()
    assert "1 value with a space, a full stop or more than 40 letters: 'twice.'" in err


def _refuse(*arguments):
    raise DataError("stop here")


def test_a_model_is_trained_and_generates_from_the_command_line(run_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    for n in range(6):
        soundfile.write(data / f"{'ab'[n % 2]}_{n}.wav", sine(0.1, 300 + 300 * (n % 2)), RATE)
    (data / "broken_9.wav").write_bytes(b"no audio")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "tones"\n[audio]\nsample_rate = 8000\n'
        "[model]\nresidual_channels = 8\ngate_channels = 8\nskip_channels = 16\n"
        'dilations = [1, 2, 4]\n[[model.conditions]]\nkind = "label"\nname = "tone"\n'
        '[data]\npattern = "{tone}_{index}"\nvalidation = { index = ["0"] }\n'
        "[train]\nsteps = 4\nsamples_per_step = 1600\nvalidate_every = 2\nsave_every = 2\n"
    )
    code, out, err = run_command("train", recipe, "--data", data)
    assert code == 0, err
    assert out == "runs/tones/checkpoint\n"
    # one clip for validation: no interval, so no costs of rounded weights
    assert checkpoint.load_config("runs/tones/checkpoint").rounding is None
    assert "5 clips to train on" in err
    assert "left out: cannot be read: 1 file: broken_9.wav" in err
    assert "WARNING: 1 of 7 audio files (14%) is left out: cannot be read: 1" in err
    assert "doubtful" not in err
    assert "1 files skipped" in err
    assert "broken_9.wav" in err
    lines = (tmp_path / "runs/tones/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert (
        run_command("generate", "--checkpoint", "runs/tones/checkpoint", "--set", "tone=a")[0] == 0
    )
    code, out, err = run_command("train", recipe, "--data", data)
    assert (code, out) == (1, "")
    assert "already contains a run" in err
    more = ("train", "small", "--data", data, "--pattern", "{tone}_{index}", "--out", "runs/more")
    more += ("--from", "runs/tones/checkpoint", "--steps", "2")
    code, _, err = run_command(*more)
    assert code == 0, err
    assert "from the weights of `tones`" in Path("runs/more/checkpoint/README.md").read_text()
    code, out, err = run_command(
        *("generate", "--checkpoint", "runs/more/checkpoint", "--set", "tone=b", "--json")
    )
    assert code == 0, err
    assert json.loads(out)["precision"] == "fp32"
    assert_refused(run_command(*more, "--label", "tone"), "--from", "--label")
    again = run_command(*more, "--resume")  # as after an interruption
    assert again[0] == 0, again[2]
    assert "from the weights of `tones`" in Path("runs/more/checkpoint/README.md").read_text()
    (data / "a_2.wav").rename(data / "c_2.wav")
    code, out, err = run_command(*more, "--out", "runs/c")
    assert (code, out) == (2, "")
    assert err.endswith("wavenet: the data contain tone 'c', which is not in the recipe\n")
    assert not Path("runs/c").exists()
    assert_refused(run_command(*more, "--from", "none"), "none", "checkpoint", code=1)


def test_the_shipped_checkpoints_are_found_from_any_folder(run_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ("--set", "digit=7", "--set", "speaker=theo", "--seconds", 0.01, "--out")
    assert run_command("generate", *common, "a.wav")[0] == 0
    soundfile.write("b.wav", sine(0.3).numpy(), RATE)
    assert run_command("vocode", "b.wav", "--out", "c.wav")[0] == 0
    for name in ("digits", "checkpoints/digits"):
        assert run_command("info", name)[1] == run_command("info")[1] != ""
        named = run_command("generate", "--checkpoint", name, *common, f"{len(name)}.wav")
        assert named[0] == 0
        assert Path(f"{len(name)}.wav").read_bytes() == Path("a.wav").read_bytes()
        score = ("score", "a.wav", "--checkpoint", name, *common[:4])
        assert run_command(*score)[1] == run_command("score", "a.wav", *common[:4])[1] != ""
    assert_refused(run_command("info", "digit"), "one of digits", "did you mean digits?", code=1)


def test_ui_refuses_a_port_that_is_in_use(run_command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_refused(run_command("ui", "--port", port), f"the port {port} is in use", "--port")


def test_train_refuses_invalid_folders_and_recipes(run_command, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = run_command("train", "--data", tmp_path / "empty", "--out", tmp_path / "run")
    assert code == 1
    assert "has no audio" in err
    assert_refused(run_command("train", tmp_path / "none.toml"), "is not a recipe file", "digits")
    bad = tmp_path / "bad.toml"
    bad.write_text("name = ")
    assert_refused(run_command("train", bad), "cannot be read as TOML")
    bad.write_text('name = "x"\nspeed = 3\n')
    assert_refused(run_command("train", bad), "speed", "not known")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def loud(tmp_path):
    """Write a float file whose left channel is 9.5 dB over full scale and whose right is not."""
    tone = 6 * sine(0.3).numpy()
    path = tmp_path / "a_loud_0.wav"
    soundfile.write(path, np.stack([tone, tone / 60], axis=1), RATE, subtype="FLOAT")
    return path


def commands_that_read(tiny, path, out):
    """Return a command line per command that reads a recording."""
    model = ("--checkpoint", tiny, "--set", "digit=a")
    return {
        "score": ("score", path, *model),
        "analyse": ("analyse", path, "--out", out),
        "generate": (*("generate", *model, "--seconds", 0.01), "--prompt", path, "--out", out),
        "report": ("data", "report", path.parent),
        "prepare": ("data", "prepare", path.parent, "--out", f"{out}_corpus", "--workers", 1),
    }


READING = ["score", "analyse", "generate", "report", "prepare"]


@pytest.mark.parametrize("command", READING)
def test_every_command_tells_samples_beyond_full_scale(run_command, tiny, loud, tmp_path, command):
    folder = tmp_path / "audio"
    folder.mkdir()
    path = loud.rename(folder / loud.name)
    line = commands_that_read(tiny, path, tmp_path / "out")[command]
    code, out, err = run_command(*line, "--channel", "left")
    assert code == 0
    assert "9.5 dB" in out + err
    assert "--normalize" in out + err
    again = commands_that_read(tiny, path, tmp_path / "out2")[command]
    code, out, err = run_command(*again, "--channel", "left", "--normalize")
    assert code == 0
    assert "scaled" in out + err
    quiet = commands_that_read(tiny, path, tmp_path / "out3")[command]
    code, out, err = run_command(*quiet, "--channel", "right")
    assert code == 0, err
    assert "full scale" not in out + err


@pytest.mark.parametrize("command", READING)
def test_every_command_refuses_a_mix_that_is_silence(run_command, tiny, tmp_path, command):
    folder = tmp_path / "audio"
    folder.mkdir()
    tone = sine(0.3).numpy()
    soundfile.write(folder / "a_b_0.wav", np.stack([tone, -tone], axis=1), RATE)
    line = commands_that_read(tiny, folder / "a_b_0.wav", tmp_path / "out")[command]
    code, out, err = run_command(*line)
    assert code in (1, 2, 3)
    assert "channels cancel each other" in out + err
    assert "--channel left" in out + err
    again = commands_that_read(tiny, folder / "a_b_0.wav", tmp_path / "out2")[command]
    assert run_command(*again, "--channel", "side")[0] == 0


def test_train_tells_levels_and_reads_the_chosen_channel(run_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    tone = sine(0.1).numpy()
    for n in range(4):
        loud = np.stack([6 * tone, tone / 60], axis=1)
        soundfile.write(data / f"{n}.wav", loud, RATE, subtype="FLOAT")
    soundfile.write(data / "opposite.wav", np.stack([tone, -tone], axis=1), RATE)
    Path("tiny.toml").write_text(
        'name = "tiny"\n[audio]\nsample_rate = 8000\n'
        "[model]\nresidual_channels = 4\ngate_channels = 4\nskip_channels = 4\n"
        "dilations = [1]\n[train]\nsteps = 1\nsamples_per_step = 800\nvalidate_every = 1\n"
    )
    code, _, err = run_command("train", "tiny.toml", "--data", data, "--out", "runs/mix")
    assert code == 0, err
    assert "4 files have samples beyond full scale, the largest by 3.5 dB" in err
    assert "opposite.wav: its channels cancel each other" in err
    options = ("--channel", "left", "--normalize", "--out", "runs/left")
    code, _, err = run_command("train", "tiny.toml", "--data", data, *options)
    assert code == 0, err
    assert "4 files have samples beyond full scale, the largest by 9.5 dB; scaled" in err
    assert "0 files skipped" in err


def test_score_in_windows_is_the_score_of_the_whole_file(run_command, tiny, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.2 * rng.standard_normal(150_000), 2 * RATE)
    line = ("score", tmp_path / "a.wav", "--checkpoint", tiny, "--set", "digit=a", "--json")
    found = json.loads(run_command(*line)[1].splitlines()[0])
    waveform = io.read(tmp_path / "a.wav", RATE).waveform
    expected = score(checkpoint.load(tiny), waveform, {"digit": "a"})
    assert found["samples"] == expected.samples == 75_000
    assert found["bits_per_sample"] == pytest.approx(expected.bits_per_sample, abs=1e-6)


def test_ctrl_c_ends_a_score(run_command, tiny, tone, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("wavenet.likelihood.score.score_blocks", interrupted)
    code, out, err = run_command("score", tone, "--checkpoint", tiny, "--set", "digit=a")
    assert (code, out) == (130, "")
    assert "Traceback" not in err


def test_the_choices_of_a_channel_are_those_of_the_reader():
    assert [choice.value for choice in ChannelChoice] == list(CHANNELS)
