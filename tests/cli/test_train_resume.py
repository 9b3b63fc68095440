"""Resuming: recordings and settings are those of the run, or refused, or accepted by an option.

Regression: a run of 8,000 Hz was resumed at 16,000 Hz without a message.
"""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine
from wavenet import checkpoint
from wavenet.checkpoint import load_config
from wavenet.corpus.prepare import prepare_corpus
from wavenet.model.conditions import LabelCondition, VectorCondition
from wavenet.model.wavenet import WaveNetConfig
from wavenet.training.dataset import read_dataset
from wavenet.training.recipe import DataConfig, TrainConfig
from wavenet.training.schedule import learning_rate
from wavenet.training.snapshots import SnapshotInfo

RECIPE = """
name = "tones"
[audio]
sample_rate = 8000
[model]
residual_channels = 4
gate_channels = 4
skip_channels = 4
dilations = [1, 2]
[[model.conditions]]
kind = "label"
name = "tone"
[data]
pattern = "{tone}_{take}"
validation = { take = ["0"] }
[train]
steps = 4
samples_per_step = 1000
validate_every = 2
save_every = 2
warmup_steps = 1
precision = "fp32"
"""


def write_tone(path, hertz=300):
    soundfile.write(path, sine(0.05, hertz).numpy(), RATE)


@pytest.fixture
def run(tmp_path, monkeypatch, run_command):
    """Train 4 steps on 8 recordings; return a function that resumes, with the recipe changed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audio").mkdir()
    for n in range(8):
        write_tone(tmp_path / "audio" / f"{'ab'[n % 2]}_{n // 2}.wav", 300 + 50 * n)
    (tmp_path / "r.toml").write_text(RECIPE)
    code, _, err = run_command("train", "r.toml", "--data", "audio")
    assert code == 0, err

    def resume(*options, data="audio", replace=("", "")):
        (tmp_path / "r.toml").write_text(RECIPE.replace(*replace))
        return run_command("train", "r.toml", "--data", data, "--resume", *options)

    resume.folder, resume.audio = tmp_path / "runs" / "tones", tmp_path / "audio"
    return resume


def newest_info(folder):
    """Return the content of the newest state.json."""
    return SnapshotInfo.model_validate_json(
        (sorted(folder.glob("step-*"))[-1] / "state.json").read_bytes()
    )


def refusal(result):
    """Return the only error, which is the last line."""
    code, out, err = result
    assert (code, out) == (1, ""), err
    return err.splitlines()[-1]


def test_the_identity_of_a_run_is_saved(run):
    identity = newest_info(run.folder).identity
    assert identity.audio.sample_rate == RATE
    assert identity.codec.law == "mu-law"
    assert identity.data.validation == {"take": ("0",)}
    assert list(identity.recordings) == sorted(f"{t}_{n}.wav" for t in "ab" for n in range(4))
    record = identity.recordings["a_0.wav"]
    assert (record.samples, record.part) == (400, "validation")
    assert identity.recordings["a_1.wav"].part == "train"
    assert len({record.digest for record in identity.recordings.values()}) == 8


def test_the_same_run_in_a_moved_folder_is_resumed_and_is_complete(run):
    os.rename(run.audio, run.audio.with_name("moved"))
    code, _, err = run(data="moved")
    assert code == 0
    assert "the run is complete after step 4" in err
    assert "--accept-changes --steps" in err


@pytest.mark.parametrize(
    "options, replace, words",
    [
        (("--sample-rate", "16000"), ("", ""), "sample rate of 8,000 Hz, now 16,000"),
        ((), ("[model]", '[codec]\nlaw = "mu-law"\nbits = 7\n[model]'), "the codec"),
        ((), ("steps = 4", "steps = 3"), "4 steps done, more than the 3"),
        ((), ("warmup_steps", "muon_learning_rate = 0.01\nwarmup_steps"), "another optimizer"),
    ],
    ids=["rate", "codec", "steps", "muon"],
)
@pytest.mark.parametrize("accept", [(), ("--accept-changes",)], ids=["strict", "accept"])
def test_what_a_run_cannot_change_is_refused_before_the_recordings_are_read(
    run, monkeypatch, options, replace, words, accept
):
    monkeypatch.setattr("wavenet.training.dataset.read_dataset", lambda *_: pytest.fail("read"))
    assert words in refusal(run(*options, *accept, replace=replace))


def test_another_model_is_refused(run):
    for change in (("[1, 2]", "[1, 3]"), ('name = "tone"\n', 'name = "tone"\nchannels = 4\n')):
        assert "another model" in refusal(run("--accept-changes", replace=change))
    shutil.copy(run.audio / "a_1.wav", run.audio / "c_1.wav")
    for options in ((), ("--accept-changes",)):
        message = refusal(run(*options))
        assert "another model, with other conditions (tone 'c' is new)" in message


def change_content(audio):
    write_tone(audio / "b_2.wav", 777)


CHANGES = {
    "added": (lambda audio: write_tone(audio / "a_9.wav"), "1 added (a_9.wav)"),
    "removed": (lambda audio: (audio / "b_3.wav").unlink(), "1 removed (b_3.wav)"),
    "changed": (change_content, "1 changed (b_2.wav)"),
    "renamed": (
        lambda audio: (audio / "b_3.wav").rename(audio / "b_0x.wav"),
        "1 added (b_0x.wav), 1 removed (b_3.wav)",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_other_recordings_are_refused_or_accepted_by_the_option(run, kind):
    change, words = CHANGES[kind]
    change(run.audio)
    message = refusal(run())
    assert f"other recordings: {words}" in message
    assert "--accept-changes" in message
    best = newest_info(run.folder).best_bits
    code, _, err = run("--accept-changes", "--steps", "6")
    assert code == 0, err
    info = newest_info(run.folder)
    assert info.step == 6
    assert best is not None and info.best_bits is not None
    summary = "other recordings: " + ", ".join(f"1 {w}" for w in words.split() if w.isalpha())
    steps = "other values of steps (4, now 6) in [train]"
    assert info.changes == (f"from step 5: {summary}; {steps}",)
    card = (run.folder / "checkpoint" / "README.md").read_text()
    assert f"| changed | {info.changes[0]} |" in card
    assert (run.folder / "checkpoint" / "config.json").is_file()
    assert run("--steps", "6")[0] == 0, "the new recordings are now those of the run"


def test_all_changes_are_named_in_one_refusal(run):
    """Regression: only other settings were named; the change of the recordings was accepted, too.

    It was printed when the training had begun.
    """
    write_tone(run.audio / "a_9.wav")
    before = sorted(run.folder.iterdir())
    message = refusal(
        run("--steps", "6", replace=("[data]", "[data]\nmax_seconds = 2.0")),
    )
    assert "other values of max_seconds (4.0, now 2.0) in [data]" in message
    assert "other recordings: 1 added (a_9.wav)" in message
    assert "other values of steps (4, now 6) in [train]" in message
    assert sorted(run.folder.iterdir()) == before
    assert newest_info(run.folder).step == 4


def test_the_best_validation_starts_again_only_if_the_validation_can_change(run):
    def best_after(*options, **changes):
        state = run.folder / "step-000000004" / "state.json"
        values = json.loads(state.read_text())
        state.write_text(json.dumps({**values, "best_bits": 0.001}))
        assert run("--accept-changes", *options, **changes)[0] == 0
        return newest_info(run.folder).best_bits

    copy = run.folder.with_name("copy")
    shutil.copytree(run.folder, copy)
    assert best_after("--steps", "6") == 0.001
    shutil.rmtree(run.folder)
    copy.rename(run.folder)
    write_tone(run.audio / "a_9.wav")
    assert best_after("--steps", "6") > 1


def test_other_settings_of_the_data_are_refused_by_name(run):
    message = refusal(run(replace=("[data]", "[data]\nmax_seconds = 2.0")))
    assert "other values of max_seconds (4.0, now 2.0) in [data]" in message
    message = refusal(run(replace=('take = ["0"]', 'take = ["1"]')))
    assert "other values of validation" in message


def test_recordings_that_were_trained_on_and_are_now_for_validation_are_counted(run):
    changes = {"replace": ('take = ["0"]', 'take = ["1"]')}
    assert "is complete after all 4 steps" in refusal(run("--accept-changes", **changes))
    code, _, err = run("--accept-changes", "--steps", "6", **changes)
    assert code == 0, err
    assert "4 of another part, 2 for validation were trained on before" in err


def test_a_finished_run_is_trained_longer_with_the_schedule_of_the_new_steps(run):
    message = refusal(run("--steps", "8"))
    assert "other values of steps (4, now 8)" in message
    code, _, err = run("--steps", "8", "--accept-changes")
    assert code == 0, err
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["step"] for record in records] == list(range(1, 9))
    settings = TrainConfig(steps=8, warmup_steps=1)
    expected = [learning_rate(settings, step) for step in range(4, 8)]
    assert [record["learning_rate"] for record in records[4:]] == expected
    assert records[4]["learning_rate"] > records[3]["learning_rate"]


def test_accepting_changes_without_resuming_is_refused(run, run_command):
    result = run_command("train", "r.toml", "--data", "audio", "--accept-changes")
    assert_refused(result, "--resume")


def test_a_snapshot_of_an_earlier_version_is_resumed_with_a_word(run):
    for path in run.folder.glob("step-*/state.json"):
        values = json.loads(path.read_text())
        del values["identity"], values["changes"]
        path.write_text(json.dumps(values))
    write_tone(run.audio / "a_9.wav")
    code, _, err = run()
    assert code == 0
    assert "its recordings could not be compared" in err
    message = refusal(run("--sample-rate", "16000"))
    assert "sample rate of 8,000 Hz, now 16,000" in message, "known from the checkpoint"


@pytest.mark.slow
def test_a_corpus_is_compared_by_its_content(run, tmp_path):
    settings = {"sample_rate": RATE, "pattern": "{tone}_{take}", "workers": 1}
    prepare_corpus(run.audio, tmp_path / "corpus", **settings)
    assert "a folder of recordings, now a corpus" in refusal(run(data="corpus"))
    assert run("--accept-changes", "--steps", "6", data="corpus")[0] == 0
    assert newest_info(run.folder).identity.corpus
    os.utime(run.audio / "a_1.wav", (1, 1))  # other names of shards, same content
    prepare_corpus(run.audio, tmp_path / "corpus", **settings)
    assert run("--steps", "6", data="corpus")[0] == 0
    change_content(run.audio)
    prepare_corpus(run.audio, tmp_path / "corpus", **settings)
    assert "other content of the corpus" in refusal(run("--steps", "6", data="corpus"))


def test_a_run_from_a_checkpoint_is_resumed_from_the_same(run, run_command):
    start = run.folder / "checkpoint"
    command = ("train", "tiny", "--data", "audio", "--pattern", "{tone}_{take}", "--steps", "1")
    assert run_command(*command, "--from", start)[0] == 0
    assert checkpoint.load_config("runs/tiny/checkpoint").model.labels[0].name == "tone"
    assert run_command(*command, "--from", start, "--resume")[0] == 0
    result = run_command(*command, "--label", "tone", "--resume")
    assert "--from tones " in refusal(result)


def digests(folder):
    data = DataConfig(folder=str(folder), validation_fraction=0)
    conditions = (LabelCondition(name="tone"), VectorCondition(name="v", size=1))
    sizes = {"residual_channels": 4, "gate_channels": 4, "skip_channels": 4, "dilations": (1,)}
    model = WaveNetConfig(conditions=conditions, **sizes)
    return {name: r.digest for name, r in read_dataset(data, RATE, model).recordings.items()}


def test_fields_and_arrays_that_the_model_uses_belong_to_a_recording(tmp_path):
    rows = ["file_name,tone,text", "a.wav,x,one", "b.wav,y,two", "b.wav,z,three"]
    for n, name in enumerate("ab"):
        write_tone(tmp_path / f"{name}.wav")
        np.save(tmp_path / f"{name}.v.npy", np.array([n]))
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    before = digests(tmp_path)
    assert list(before) == ["a.wav", "b.wav"]  # the second row of a file is not used
    (tmp_path / "metadata.csv").write_text("\n".join(rows).replace(",one", ",uno"))
    assert digests(tmp_path) == before, "the model does not use the text"
    (tmp_path / "metadata.csv").write_text("\n".join(rows).replace("y,", "w,"))
    assert [n for n, d in digests(tmp_path).items() if d != before[n]] == ["b.wav"]
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    np.save(tmp_path / "a.v.npy", np.array([7]))
    assert [n for n, d in digests(tmp_path).items() if d != before[n]] == ["a.wav"]


def test_a_change_with_a_table_sign_is_one_cell_of_the_card(run):
    for path in list(run.audio.iterdir()):
        path.rename(path.with_name(f"{path.stem}|.wav"))
    changed = ('"{tone}_{take}"', '"{tone}_{take}|"')
    assert run("--accept-changes", "--steps", "6", replace=changed)[0] == 0
    card = (run.folder / "checkpoint" / "README.md").read_text()
    (line,) = [line for line in card.splitlines() if line.startswith("| changed |")]
    assert line.replace(r"\|", "").count("|") == 3


def test_a_finished_training_stores_the_rounding_costs_of_its_best_weights(run, tmp_path):
    stored = load_config(tmp_path / "runs/tones/checkpoint").rounding
    assert stored.costs.keys() == {"int8", "bf16"}
    assert stored.measured_on == "2 clips of the validation set"
    code, _, err = run("--accept-changes", "--steps", "8")
    assert code == 0, err
    longer = load_config(tmp_path / "runs/tones/checkpoint").rounding
    # the control: these are other weights
    assert longer.costs.keys() == {"int8", "bf16"} and longer != stored
