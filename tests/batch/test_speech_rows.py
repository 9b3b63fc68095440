"""Rows of a batch that a voice speaks: columns, errors, resume."""

import json

import numpy as np
import pytest
import soundfile

from tests.batch.conftest import file_hashes, read_journal, run_rows
from tests.speech.test_acoustic_model import CONFIG
from tests.speech.tiny_voice import save_voice
from wavenet.batch.batch_config import BatchSettings
from wavenet.batch.manifest import ManifestRow
from wavenet.batch.tasks import load_checkpoint, make_request, make_task
from wavenet.errors import ConditionError
from wavenet.speech.voice import SpeakingStyle
from wavenet.speech.voice_folder import load_voice

TEXT = "Hello you. It is 5% so!"


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    return str(save_voice(tmp_path_factory.mktemp("voices") / "tiny"))


def task_of(voice, **values):
    """Return the task of a row."""
    return make_task(ManifestRow(5, values), BatchSettings(voice))


def test_a_row_becomes_the_frames_of_all_its_sentences(voice):
    values = {"speed": "2", "pitch": 3, "loudness": -2, "melody": 0.5, "speaker": "b"}
    task = task_of(voice, id="x", text=TEXT, seed=4, mood="calm", **values)
    plans = load_voice(voice).plan(TEXT, SpeakingStyle(2, 3, -2, 0.5), "b")
    frames = np.concatenate([plan.frames for plan in plans])
    request = make_request(task)
    assert np.array_equal(request.frame_features, frames)
    assert request.samples == task.samples == (len(frames) - 1) * CONFIG.hop
    assert (task.output, task.seed, task.extra) == ("x_4.wav", 4, {"mood": "calm"})
    assert task.seconds == task.samples / 8000


def test_the_hash_depends_on_everything_that_is_spoken(voice):
    base = task_of(voice, text=TEXT)
    assert task_of(voice, text=TEXT, speed=1.0).params_hash == base.params_hash
    others = [{"text": "Hello."}, {"text": TEXT, "speed": 1.1}, {"text": TEXT, "pitch": 1}]
    others += [{"text": TEXT, "speaker": "b"}, {"text": TEXT, "seed": 1}]
    hashes = {task_of(voice, **values).params_hash for values in others}
    assert len(hashes | {base.params_hash}) == len(others) + 1


def test_the_hash_depends_on_both_models(voice, tmp_path):
    copy = str(save_voice(tmp_path / "copy"))
    assert load_checkpoint(copy)[1] == load_checkpoint(voice)[1]
    for name in ("config.json", "vocoder/config.json"):
        changed = save_voice(tmp_path / name.replace("/", "-"))
        text = (changed / name).read_text(encoding="utf-8")
        (changed / name).write_text(text + "\n", encoding="utf-8")
        assert load_checkpoint(str(changed))[1] != load_checkpoint(voice)[1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "a voice needs a text; add it in a column text"),
        ({"text": ""}, "a voice needs a text"),
        ({"text": 5}, "text must be text, found 5"),
        ({"text": "😀"}, "no words that can be read: emoji are left out"),
        ({"text": "[[QQ]]"}, "'QQ' is not a phone"),
        ({"text": "x", "speed": 9}, "speed must be 0.25 to 4, found 9"),
        ({"text": "x", "speed": "fast"}, "speed"),
        ({"text": "x", "speaker": "c"}, "expected one of a, b"),
        ({"text": "x", "seconds": 1}, "seconds has no meaning for a voice"),
        ({"text": "x", "prompt": "a.wav"}, "prompt has no meaning for a voice"),
        ({"text": "x", "spead": 2}, "'spead' is unknown, did you mean 'speed'"),
        ({"text": "so. " * 5000, "speed": 0.25}, "at most 600"),
    ],
)
def test_a_row_that_cannot_be_spoken_is_refused(voice, values, words):
    with pytest.raises(ConditionError) as found:
        task_of(voice, **values)
    assert words in str(found.value)


def test_the_option_seconds_is_refused(voice):
    with pytest.raises(ConditionError, match="omit --seconds"):
        make_task(ManifestRow(1, {"text": "x"}), BatchSettings(voice, seconds=1.0))


def test_a_text_for_another_model_is_refused(tiny):
    row = ManifestRow(5, {"digit": "a", "text": TEXT})
    with pytest.raises(ConditionError, match="is not a voice, and speaks no text"):
        make_task(row, BatchSettings(tiny))
    task = make_task(row, BatchSettings(tiny, ignore_unknown_columns=True))
    assert (task.extra, task.speech) == ({"text": TEXT}, None)


def test_a_batch_speaks_reports_what_was_left_out_and_resumes(voice, tmp_path):
    rows = [
        {"id": "one", "text": "Hello you 😀.", "speed": 4},
        {"id": "two", "text": "So.", "speed": 4, "speaker": "b"},
        {"id": "bad", "text": "..."},
    ]
    result = run_rows(tmp_path / "clips", rows, voice)
    assert (result.done, result.failed) == (2, 1)
    records = {record["id"]: record for record in read_journal(tmp_path / "clips")}
    assert records["one"]["warnings"] == ["emoji are left out, such as 😀 (grinning face)"]
    assert "no words that can be read" in records["bad"]["error"]
    for name in ("one", "two"):
        info = soundfile.info(tmp_path / "clips" / records[name]["file"])
        assert info.samplerate == 8000
        assert info.duration == pytest.approx(records[name]["seconds"])
    before = file_hashes(tmp_path / "clips")
    again = run_rows(tmp_path / "clips", rows, voice)
    assert (again.done, again.already_done, again.failed) == (0, 2, 1)
    alone = run_rows(tmp_path / "alone", rows[1:2], voice)
    assert alone.done == 1
    assert file_hashes(tmp_path / "alone").items() <= before.items()


def test_the_command_refuses_such_rows_before_anything_is_generated(voice, tmp_path, capsys):
    from wavenet.cli.main import run

    manifest = tmp_path / "rows.jsonl"
    rows = [{"id": "a", "text": "So."}, {"id": "b"}]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path / "clips"
    code = run(["batch", str(manifest), "--checkpoint", voice, "--out-dir", str(out), "--quiet"])
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert lines[0] == "line 2: a voice needs a text; add it in a column text"
    assert "nothing was generated" in lines[1]
    assert not out.exists()
