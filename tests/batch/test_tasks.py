"""Rows -> tasks: all is checked before anything is made, and each fault is one sentence."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio_utils.errors import AudioError
from tests.batch.conftest import write
from tests.conftest import RATE, sine, tiny_config
from wavenet.batch.finish import Place
from wavenet.batch.rows import Row
from wavenet.batch.run import Wanted, check
from wavenet.batch.tasks import Settings, make_item, make_task
from wavenet.errors import CheckpointError, ConditionError, WaveNetError
from wavenet.sampling import SamplingConfig

COLUMNS = ["id", "seed", "seconds", "digit", "labels", "prompt", "condition", "output", "more"]
COLUMNS += ["top_k", "temperature", "greedy", "guidance", "checkpoint"]


@pytest.fixture
def options(tiny, tmp_path):
    return Settings(tiny, str(tmp_path))


def task_of(options, **values):
    return make_task(Row(5, {"digit": "a", **values}), options)


def test_a_plain_row_has_what_the_batch_says(options):
    task = task_of(options, id="x", text="hello")
    assert (task.identity, task.samples, task.seed) == ("x", 0.05 * RATE, 0)
    assert (task.output, task.extra, task.labels) == ("x_0.wav", {"text": "hello"}, {"digit": "a"})


@pytest.mark.parametrize("alias", ["output", "file_name", "audio_filepath", "path", "audio_file"])
def test_columns_of_other_programs_are_known(options, alias):
    task = task_of(options, **{alias: "sub/take.WAV", "duration": "0.02"})
    assert (task.output, task.samples, task.extra) == ("sub/take.WAV", 160, {})
    assert task_of(options, **{alias: "take.flac"}).output == "take.flac.wav"


@pytest.mark.parametrize(
    ("value", "identity"), [(0, "0"), (7, "7"), ("0", "0"), (1.5, "1.5"), (None, "000005")]
)
def test_ids_may_be_numbers_and_zero_is_one(options, value, identity):
    assert task_of(options, id=value).identity == identity
    assert make_task(Row(5, {"digit": "a"}), options).identity == "000005"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"id": True}, "id must be"),
        ({"id": ["a"]}, "id must be"),
        ({"seed": -1}, "seed must be 0"),
        ({"seed": 1.5}, "whole number"),
        ({"seed": "many"}, "whole number"),
        ({"seed": True}, "whole number"),
        ({"seed": "1e999"}, "whole number"),
        ({"seconds": "nan"}, "above 0"),
        ({"seconds": "inf"}, "above 0"),
        ({"seconds": "1e999"}, "above 0"),
        ({"seconds": 10**400}, "finite"),
        ({"seconds": -0.3}, "above 0"),
        ({"seconds": "0"}, "above 0"),
        ({"seconds": 601}, "600"),
        ({"seconds": "=1+1"}, "must be a number"),
        ({"digit": "d"}, "choose one of a, b, c"),
        ({"digit": True}, "a word or a number"),
        ({"digit": ["a"]}, "a word or a number"),
        ({"digit": None}, "is missing"),
        ({"labels": {"voice": "a"}}, "not known to this model"),
        ({"labels": "a"}, "labels must be"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": 0}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": "=cmd"}, "top_p"),
        ({"greedy": "maybe"}, "greedy"),
        ({"guidance": 2}, "guidance"),
        ({"prompt": "none.wav"}, "there is no file none.wav"),
        ({"prompt": "x" * 5000}, "there is no file"),
        ({"prompt": "a\0b"}, "there is no file"),
        ({"prompt": "\ud800"}, "there is no file"),
        ({"prompt": 7}, "the path of a file"),
        ({"condition": "note.txt"}, "takes no frames"),
        ({"output": "../x.wav"}, "cannot be used"),
        ({"output": "\ud800"}, "no valid text"),
        ({"checkpoint": "nowhere"}, "nowhere"),
        ({"checkpoint": "\0"}, "checkpoint"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(options, tmp_path, values, words):
    (tmp_path / "note.txt").write_text("no sound")
    with pytest.raises((WaveNetError, AudioError)) as caught:
        task_of(options, **values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cells_of_a_table_become_what_they_spell(options):
    task = task_of(options, seed="12", top_k="5", temperature="0.5", greedy="TRUE", seconds="1e-2")
    assert (task.seed, task.samples) == (12, 80)
    assert (task.sampling.top_k, task.sampling.greedy) == (5, True)
    assert task_of(options, seed="1e3").seed == 1000
    assert task_of(options, seed=None, seconds=None, temperature=None).seed == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(COLUMNS),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=4,
        ),
    )
)
def test_any_row_is_a_task_or_one_sentence(options, values):
    try:
        task = make_task(Row(1, values), options)
    except (WaveNetError, AudioError) as error:
        assert str(error)
        return
    assert 0 < task.samples <= 600 * RATE


def test_a_row_that_does_not_say_how_to_draw_leaves_it_to_the_checkpoint(options, tmp_path):
    plain = task_of(options, id="x")
    assert plain.sampling == SamplingConfig()
    shutil.copytree(options.checkpoint, tmp_path / "calm")
    config = json.loads((tmp_path / "calm" / "config.json").read_text())
    own = {"temperature": 0.5, "top_p": 0.9}
    (tmp_path / "calm" / "config.json").write_text(json.dumps({**config, "sampling": own}))
    calm = replace(options, checkpoint=str(tmp_path / "calm"))
    assert task_of(calm, id="x").sampling == SamplingConfig(**own)
    assert task_of(calm, id="x", temperature=0.7).sampling.temperature == 0.7
    louder = replace(calm, sampling={"temperature": 0.6})
    assert task_of(louder, id="x").sampling == SamplingConfig(temperature=0.6, top_p=0.9)
    assert task_of(louder, id="x", top_p=1).sampling.top_p == 1


def test_the_hash_names_all_that_determines_a_clip(options, tmp_path):
    soundfile.write(tmp_path / "tone.wav", sine(0.1), RATE)
    base = {"id": "x", "prompt": "tone.wav", "output": "o"}
    first = task_of(options, **base).params_hash
    assert task_of(options, **base, text="other words").params_hash == first
    changes = [{"id": "y"}, {"seed": 1}, {"digit": "b"}, {"seconds": 0.1}, {"temperature": 0.5}]
    changes += [{"output": "z"}, {"prompt": None}]
    hashes = {task_of(options, **{**base, **change}).params_hash for change in changes}
    assert len(hashes | {first}) == len(changes) + 1
    soundfile.write(tmp_path / "tone.wav", sine(0.2), RATE)
    assert task_of(options, **base).params_hash != first


def test_clock_and_date_of_a_prompt_mean_nothing(options, tmp_path):
    soundfile.write(tmp_path / "tone.wav", sine(0.1), RATE)
    first = task_of(options, id="x", prompt="tone.wav").params_hash
    for when in (0, 4_000_000_000):
        os.utime(tmp_path / "tone.wav", (when, when))
        assert task_of(options, id="x", prompt="tone.wav").params_hash == first


@pytest.mark.parametrize("damage", ["cut", "text", "silent", "folder"])
def test_a_prompt_that_cannot_be_read_is_found_before(options, tmp_path, damage):
    path = tmp_path / "tone.wav"
    soundfile.write(path, sine(0.1) * (damage != "silent"), RATE)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:30])
    elif damage == "text":
        path.write_text("not audio")
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    with pytest.raises((ConditionError, AudioError)):
        task_of(options, prompt="tone.wav")


def test_frames_say_how_long_a_clip_is(make_checkpoint, tmp_path):
    folder = str(make_checkpoint(tiny_config(conditions="frames")).folder)
    np.save(tmp_path / "curve.npy", np.zeros((11, 3), np.float32))
    options = Settings(folder, str(tmp_path))
    task = make_task(Row(1, {"cond": "curve.npy"}), options)
    assert task.samples == 70
    assert make_item(task).local.shape == (11, 3)
    for content in (b"", b"\x93NUMPY broken", b"text"):
        (tmp_path / "curve.npy").write_bytes(content)
        with pytest.raises(ConditionError):
            make_task(Row(1, {"condition": "curve.npy"}), options)
    with pytest.raises(ConditionError):
        make_task(Row(1, {}), options)


def plan_of(tmp_path, options, rows, **wanted):
    manifest = write(tmp_path / "m.jsonl", rows)
    return check(manifest, options, Wanted(**wanted), Place(tmp_path / "out"))


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"id": "x"}, {"id": "x"}, "the id 'x', as line 1 has"),
        ({"id": "Straße"}, {"id": "STRASSE"}, "the id"),
        ({"id": "\u00e9"}, {"id": "e\u0301"}, "the id"),
        ({"id": "x"}, {"id": "y", "output": "X_0.WAV"}, "the file 'X_0.WAV', as line 1 has"),
        ({"output": "a/b"}, {"output": "a/B"}, "the file"),
    ],
)
def test_twins_are_named_with_both_lines(tmp_path, options, one, other, words):
    plan = plan_of(tmp_path, options, [{"digit": "a", **one}, {"digit": "a", **other}])
    assert (plan.rows, plan.good, plan.bad) == (2, 1, 1)
    assert plan.faults[0].line == 2
    assert words in plan.faults[0].sentence


def test_twins_are_found_across_shards(tmp_path, options):
    rows = [{"id": f"x{n}", "digit": "a", "output": f"o{n % 4}"} for n in range(8)]
    plans = [plan_of(tmp_path, options, rows, shard=(k, 3)) for k in (1, 2, 3)]
    assert sum(plan.bad for plan in plans) == 4
    assert sum(plan.rows for plan in plans) == 8


def test_nothing_is_written_over_what_another_row_reads(tmp_path, options):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.jsonl").touch()
    soundfile.write(tmp_path / "out" / "tone.wav", sine(0.1), RATE)
    reads = {"id": "r", "digit": "a", "prompt": "out/tone.wav"}
    writes = {"id": "w", "digit": "a", "output": "Tone"}
    for rows in ([reads, writes], [writes, reads], [{**reads, "output": "tone"}]):
        plan = plan_of(tmp_path, options, rows)
        assert plan.bad == 1
        assert "read" in plan.faults[0].sentence
    assert plan_of(tmp_path, options, [reads]).bad == 0


def test_files_that_no_batch_made_are_not_replaced(tmp_path, options):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x_0.wav").write_bytes(b"mine")
    with pytest.raises(ConditionError, match="add --overwrite"):
        plan_of(tmp_path, options, [{"id": "x", "digit": "a"}])
    assert plan_of(tmp_path, options, [{"id": "x", "digit": "a"}], overwrite=True).good == 1


def test_a_checkpoint_that_all_rows_lack_is_said_once(tmp_path):
    with pytest.raises(CheckpointError):
        plan_of(tmp_path, Settings(str(tmp_path / "none")), [{"id": "x"}, {"id": "y"}])
    plan = plan_of(tmp_path, Settings(str(tmp_path / "none")), [{"checkpoint": "gone"}])
    assert plan.bad == 1


def test_a_plan_counts_what_there_is(tmp_path, options):
    rows = [{"id": n, "digit": "abd"[n % 3], "seconds": 0.5} for n in range(9)]
    plan = plan_of(tmp_path, options, rows)
    assert (plan.rows, plan.good, plan.bad, plan.seconds) == (9, 6, 3, 3.0)
    assert [fault.line for fault in plan.faults] == [3, 6, 9]
    assert plan_of(tmp_path, options, rows, limit=2).rows == 2
    book = {"id": "x", "digit": json.dumps("y" * 100_000)}
    assert len(plan_of(tmp_path, options, [book]).faults[0].sentence) <= 500
    assert not (tmp_path / "out").exists()
