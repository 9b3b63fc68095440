"""Conversion of rows to tasks: everything is checked, and each error is one sentence."""

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio_utils.errors import AudioError
from tests.batch.conftest import write_manifest
from tests.conftest import RATE, sine, tiny_config
from wavenet.batch.batch_config import BatchOptions, BatchSettings, ExecutionConfig
from wavenet.batch.manifest import ManifestRow, ManifestShard
from wavenet.batch.manifest_check import check_manifest
from wavenet.batch.tasks import load_checkpoint, make_request, make_task
from wavenet.errors import CheckpointError, ConditionError, WaveNetError
from wavenet.model.conditions import MelCondition
from wavenet.sampling import SamplingConfig

COLUMNS = ["id", "seed", "seconds", "digit", "labels", "prompt", "condition", "output", "more"]
COLUMNS += ["top_k", "temperature", "greedy", "guidance", "checkpoint"]


@pytest.fixture
def batch_settings(tiny, tmp_path):
    return BatchSettings(tiny, str(tmp_path))


def task_of(batch_settings, **values):
    """Return the task of a row."""
    return make_task(ManifestRow(5, {"digit": "a", **values}), batch_settings)


def test_a_rate_that_the_format_cannot_store_is_refused_with_the_row(make_checkpoint):
    folder = make_checkpoint(tiny_config(conditions="none")).folder
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"sample_rate": 8000', '"sample_rate": 4000'))
    row = ManifestRow(1, {"id": "a"})
    with pytest.raises(AudioError, match="4000 Hz"):
        make_task(row, BatchSettings(str(folder), file_format="mp3"))
    assert make_task(row, BatchSettings(str(folder))).output == "a_0.wav"


def test_a_row_without_settings_has_those_of_the_batch(batch_settings):
    task = task_of(batch_settings, id="x", mood="calm")
    assert (task.identity, task.samples, task.seed) == ("x", 0.05 * RATE, 0)
    assert (task.output, task.extra) == ("x_0.wav", {"mood": "calm"})
    assert task.conditions == {"digit": "a"}


@pytest.mark.parametrize("alias", ["output", "file_name", "audio_filepath", "path", "audio_file"])
def test_column_names_of_other_programs_are_known(batch_settings, alias):
    task = task_of(batch_settings, **{alias: "sub/take.WAV", "duration": "0.02"})
    assert (task.output, task.samples, task.extra) == ("sub/take.WAV", 160, {})
    assert task_of(batch_settings, **{alias: "take.2"}).output == "take.2.wav"


@pytest.mark.parametrize("name", ["k/a.mp3", "k/a.FLAC", "k/a.opus", "k/a.m4a"])
def test_the_suffix_of_a_name_from_another_data_set_is_replaced(batch_settings, name):
    """Regression: k/a.mp3 became k/a.mp3.wav."""
    task = task_of(batch_settings, audio_filepath=name)
    assert (task.output, task.suffix_column) == ("k/a.wav", "audio_filepath")
    task = task_of(batch_settings, Audio_Filepath="k/a.wav")
    assert (task.output, task.suffix_column) == ("k/a.wav", None)
    with pytest.raises(ConditionError, match="cannot be used"):
        task_of(batch_settings, audio_filepath=".mp3")


@pytest.mark.parametrize("column", ["output", "OUTPUT"])
def test_an_output_with_the_suffix_of_another_format_is_refused(batch_settings, column):
    """Regression: c.flac became c.flac.wav."""
    words = "'c.flac' ends in .flac, but --format is wav; use --format flac or another name"
    with pytest.raises(ConditionError, match=words):
        task_of(batch_settings, **{column: "c.flac"})
    with pytest.raises(
        ConditionError, match=r"ends in \.m4a, but --format is wav; use another name"
    ):
        task_of(batch_settings, **{column: "c.m4a"})
    flac = replace(batch_settings, file_format="flac")
    assert task_of(flac, **{column: "c.flac"}).output == "c.flac"
    with pytest.raises(ConditionError, match="but --format is flac; use --format wav or"):
        task_of(flac, **{column: "c.wav"})


def test_an_id_with_the_suffix_of_another_format_is_refused_by_its_template(batch_settings):
    plain = replace(batch_settings, name_template="{id}")
    assert task_of(plain, id="a.wav").output == "a.wav"
    with pytest.raises(ConditionError, match=r"the template 'a\.mp3' ends in \.mp3"):
        task_of(plain, id="a.mp3")
    assert task_of(batch_settings, id="a.mp3").output == "a.mp3_0.wav"


def test_an_output_may_have_as_many_bytes_as_file_systems_allow(batch_settings):
    """Regression: 240 bytes were the limit, whatever the suffix."""
    title = "音" * 83 + "ab"  # 251 bytes, 255 with the suffix
    assert task_of(batch_settings, output=title).output == f"{title}.wav"
    for long in (f"{title}c", "音" * 84):
        with pytest.raises(ConditionError, match="longer than 255 bytes"):
            task_of(batch_settings, output=long)


@pytest.mark.parametrize(
    ("value", "identity"), [(0, "0"), (7, "7"), ("0", "0"), (1.5, "1.5"), (None, "000005")]
)
def test_ids_may_be_numbers_even_zero(batch_settings, value, identity):
    assert task_of(batch_settings, id=value).identity == identity
    assert make_task(ManifestRow(5, {"digit": "a"}), batch_settings).identity == "000005"


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
        ({"seconds": "nan"}, "at least 0.001"),
        ({"seconds": "inf"}, "at least 0.001"),
        ({"seconds": "1e999"}, "at least 0.001"),
        ({"seconds": 10**400}, "finite"),
        ({"seconds": -0.3}, "at least 0.001"),
        ({"seconds": "0"}, "at least 0.001"),
        ({"seconds": 601}, "600"),
        ({"seconds": "=1+1"}, "must be a number"),
        ({"digit": "d"}, "choose one of a, b, c"),
        ({"digit": True}, "text or a number"),
        ({"digit": ["a"]}, "text or a number"),
        ({"digit": None}, "is missing"),
        ({"labels": {"voice": "a"}}, "has no condition 'voice'"),
        ({"labels": "a"}, "labels must be"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": 0}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": "=cmd"}, "top_p"),
        ({"greedy": "maybe"}, "greedy"),
        ({"guidance": 2}, "guidance"),
        ({"prompt": "none.wav"}, "the file none.wav does not exist"),
        ({"prompt": "x" * 5000}, "does not exist"),
        ({"prompt": "a\0b"}, "does not exist"),
        ({"prompt": "\ud800"}, "does not exist"),
        ({"prompt": 7}, "the path of a file"),
        ({"condition": "note.txt"}, "has no local condition"),
        ({"output": "../x.wav"}, "cannot be used"),
        ({"output": "\ud800"}, "not valid Unicode text"),
        ({"checkpoint": "nowhere"}, "nowhere"),
        ({"checkpoint": "\0"}, "checkpoint"),
    ],
)
def test_an_invalid_row_is_one_sentence(batch_settings, tmp_path, values, words):
    (tmp_path / "note.txt").write_text("no sound")
    with pytest.raises((WaveNetError, AudioError)) as caught:
        task_of(batch_settings, **values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cells_of_a_table_are_converted(batch_settings):
    task = task_of(
        batch_settings, seed="12", top_k="5", temperature="0.5", greedy="TRUE", seconds="1e-2"
    )
    assert (task.seed, task.samples) == (12, 80)
    assert (task.sampling.top_k, task.sampling.greedy) == (5, True)
    assert task_of(batch_settings, seed="1e3").seed == 1000
    assert task_of(batch_settings, seed=None, seconds=None, temperature=None).seed == 0


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
def test_any_row_is_a_task_or_an_error(batch_settings, values):
    try:
        task = make_task(ManifestRow(1, values), batch_settings)
    except (WaveNetError, AudioError) as error:
        assert str(error)
        return
    assert 0 < task.samples <= 600 * RATE


def test_sampling_defaults_come_from_the_checkpoint(batch_settings, tmp_path):
    plain = task_of(batch_settings, id="x")
    assert plain.sampling == SamplingConfig()
    shutil.copytree(batch_settings.checkpoint, tmp_path / "changed")
    config = json.loads((tmp_path / "changed" / "config.json").read_text())
    own = {"temperature": 0.5, "top_p": 0.9}
    (tmp_path / "changed" / "config.json").write_text(json.dumps({**config, "sampling": own}))
    changed = replace(batch_settings, checkpoint=str(tmp_path / "changed"))
    assert task_of(changed, id="x").sampling == SamplingConfig(**own)
    assert task_of(changed, id="x", temperature=0.7).sampling.temperature == 0.7
    other = replace(changed, sampling={"temperature": 0.6})
    assert task_of(other, id="x").sampling == SamplingConfig(temperature=0.6, top_p=0.9)
    assert task_of(other, id="x", top_p=1).sampling.top_p == 1


def test_the_params_hash_depends_on_everything_that_determines_a_clip(batch_settings, tmp_path):
    soundfile.write(tmp_path / "tone.wav", sine(0.1), RATE)
    base = {"id": "x", "prompt": "tone.wav", "output": "o"}
    first = task_of(batch_settings, **base).params_hash
    assert task_of(batch_settings, **base, mood="other").params_hash == first
    changes = [{"id": "y"}, {"seed": 1}, {"digit": "b"}, {"seconds": 0.1}, {"temperature": 0.5}]
    changes += [{"output": "z"}, {"prompt": None}]
    hashes = {task_of(batch_settings, **{**base, **change}).params_hash for change in changes}
    assert len(hashes | {first}) == len(changes) + 1
    soundfile.write(tmp_path / "tone.wav", sine(0.2), RATE)
    assert task_of(batch_settings, **base).params_hash != first


def test_the_params_hash_is_that_of_earlier_versions(batch_settings, tmp_path):
    """If a name in the hashed content changed, all finished clips would be generated again."""
    soundfile.write(tmp_path / "tone.wav", sine(0.1), RATE)
    task = task_of(batch_settings, id="x", prompt="tone.wav", temperature=0.5)
    tone = hashlib.sha256((tmp_path / "tone.wav").read_bytes()).hexdigest()
    content = {
        "version": 1,
        "checkpoint": load_checkpoint(task.checkpoint)[1],
        "id": "x",
        "labels": {"digit": "a"},
        "samples": 400,
        "seed": 0,
        "inputs": [tone, None],
        "sampling": {
            "temperature": 0.5, "top_k": None, "top_p": None, "greedy": False, "guidance": 1.0,
        },
        "output": "x_0.wav",
        "guard": {
            "window": 0.1, "attempts": 3, "saturated_rms": 0.6, "saturated_share": 0.3,
            "noise_rms": 0.1, "noise_roughness": 0.5, "noise_share": 0.85,
            "silence_seconds": 1.5, "silence_peak": 1e-4,
        },
        "file": ["PCM_16", "none", -23.0, "fp32"],
    }  # fmt: skip
    text = json.dumps(content, sort_keys=True)
    assert task.params_hash == hashlib.sha256(text.encode()).hexdigest()
    # earlier versions scaled short clips to the peak ceiling, so these are generated again
    scaled = replace(batch_settings, normalize="lufs")
    task = task_of(scaled, id="x", prompt="tone.wav", temperature=0.5)
    content["file"] = ["PCM_16", "lufs", -23.0, "fp32"]
    for more, is_equal in (({}, False), ({"loudness": 2}, True)):
        text = json.dumps({**content, **more}, sort_keys=True)
        assert (task.params_hash == hashlib.sha256(text.encode()).hexdigest()) == is_equal


def test_the_params_hash_does_not_depend_on_file_times(batch_settings, tmp_path):
    soundfile.write(tmp_path / "tone.wav", sine(0.1), RATE)
    first = task_of(batch_settings, id="x", prompt="tone.wav").params_hash
    for when in (0, 4_000_000_000):
        os.utime(tmp_path / "tone.wav", (when, when))
        assert task_of(batch_settings, id="x", prompt="tone.wav").params_hash == first


@pytest.mark.parametrize("damage", ["cut", "text", "silent", "folder"])
def test_a_damaged_prompt_is_found_first(batch_settings, tmp_path, damage):
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
        task_of(batch_settings, prompt="tone.wav")


def test_the_condition_file_gives_the_default_length(make_checkpoint, tmp_path):
    folder = str(make_checkpoint(tiny_config(conditions="frames")).folder)
    np.save(tmp_path / "curve.npy", np.zeros((11, 3), np.float32))
    batch_settings = BatchSettings(folder, str(tmp_path))
    task = make_task(ManifestRow(1, {"cond": "curve.npy"}), batch_settings)
    assert task.samples == 70
    assert make_request(task).frame_features.shape == (11, 3)
    for content in (b"", b"\x93NUMPY broken", b"text"):
        (tmp_path / "curve.npy").write_bytes(content)
        with pytest.raises(ConditionError):
            make_task(ManifestRow(1, {"condition": "curve.npy"}), batch_settings)
    with pytest.raises(ConditionError):
        make_task(ManifestRow(1, {}), batch_settings)


def test_mel_frames_of_a_row_are_in_decibels(make_checkpoint, tmp_path, rng):
    mel = MelCondition(n_mels=20, win_length=256, channels=4, context=1)
    config = tiny_config(hop=80).model_copy(update={"conditions": (mel,)})
    folder = str(make_checkpoint(config, name="vocoder").folder)
    decibels = -40 + 15 * rng.standard_normal((11, 20)).astype(np.float32)
    row, made = ManifestRow(1, {"condition": "mel.NPY"}), {}
    for scale, frames in (("ln", decibels * np.log(10) / 10), ("model", decibels / 30 + 1)):
        np.save(tmp_path / "mel.npy", frames)
        (tmp_path / "mel.npy").rename(tmp_path / "mel.NPY")
        with pytest.raises(ConditionError, match="looks like"):
            make_task(row, BatchSettings(folder, str(tmp_path)))
        task = make_task(row, BatchSettings(folder, str(tmp_path), frames_scale=scale))
        made[scale] = make_request(task).frame_features
        assert task.samples == 800
    torch.testing.assert_close(made["ln"], torch.from_numpy((decibels + 30) / 30))
    torch.testing.assert_close(made["model"], made["ln"])
    np.save(tmp_path / "mel.npy", decibels)
    with pytest.raises(ConditionError, match="in ln, which looks like decibels"):
        make_task(
            ManifestRow(1, {"condition": "mel.npy"}),
            BatchSettings(folder, str(tmp_path), frames_scale="ln"),
        )


def test_the_scale_enters_the_params_hash_of_rows_with_frames(make_checkpoint, tmp_path):
    folder = str(make_checkpoint(tiny_config(conditions="frames")).folder)
    np.save(tmp_path / "curve.npy", np.zeros((11, 3), np.float32))
    hashes = {}
    for scale in (None, "model"):
        settings = BatchSettings(folder, str(tmp_path), frames_scale=scale)
        hashes[scale] = make_task(ManifestRow(1, {"cond": "curve.npy"}), settings).params_hash
    assert hashes[None] != hashes["model"]


def summary_of(tmp_path, batch_settings, rows, **options):
    """Check a manifest of rows."""
    manifest = write_manifest(tmp_path / "m.jsonl", rows)
    execution = ExecutionConfig(tmp_path / "out")
    return check_manifest(manifest, batch_settings, BatchOptions(**options), execution)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"id": "x"}, {"id": "x"}, "same id as line 1: 'x'"),
        ({"id": "Straße"}, {"id": "STRASSE"}, "same id"),
        ({"id": "\u00e9"}, {"id": "e\u0301"}, "same id"),
        ({"id": "x"}, {"id": "y", "output": "X_0.WAV"}, "same file as line 1: 'X_0.WAV'"),
        ({"output": "a/b"}, {"output": "a/B"}, "same file"),
        ({"output": "a.wav/b"}, {"output": "a"}, "is a folder of line 1"),
        ({"output": "a"}, {"output": "A.wav/b/c"}, "line 1 writes as a file"),
    ],
)
def test_rows_that_collide_are_reported_with_both_lines(
    tmp_path, batch_settings, one, other, words
):
    summary = summary_of(tmp_path, batch_settings, [{"digit": "a", **one}, {"digit": "a", **other}])
    assert (summary.rows, summary.valid_count, summary.invalid_count) == (2, 1, 1)
    assert summary.invalid_rows[0].line == 2
    assert words in summary.invalid_rows[0].reason


def test_collisions_are_found_across_shards(tmp_path, batch_settings):
    rows = [{"id": f"x{n}", "digit": "a", "output": f"o{n % 4}"} for n in range(8)]
    summaries = [
        summary_of(tmp_path, batch_settings, rows, shard=ManifestShard(k, 3)) for k in (1, 2, 3)
    ]
    assert sum(summary.invalid_count for summary in summaries) == 4
    assert sum(summary.rows for summary in summaries) == 8


def test_no_row_writes_a_file_that_another_row_reads(tmp_path, batch_settings):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.jsonl").touch()
    soundfile.write(tmp_path / "out" / "tone.wav", sine(0.1), RATE)
    reads = {"id": "r", "digit": "a", "prompt": "out/tone.wav"}
    writes = {"id": "w", "digit": "a", "output": "Tone"}
    for rows in ([reads, writes], [writes, reads], [{**reads, "output": "tone"}]):
        summary = summary_of(tmp_path, batch_settings, rows)
        assert summary.invalid_count == 1
        assert "read" in summary.invalid_rows[0].reason
    assert summary_of(tmp_path, batch_settings, [reads]).invalid_count == 0


def test_files_that_no_batch_wrote_are_not_replaced(tmp_path, batch_settings):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x_0.wav").write_bytes(b"mine")
    with pytest.raises(ConditionError, match="add --overwrite"):
        summary_of(tmp_path, batch_settings, [{"id": "x", "digit": "a"}])
    rows = [{"id": "x", "digit": "a"}]
    assert summary_of(tmp_path, batch_settings, rows, overwrite=True).valid_count == 1


def test_replaced_suffixes_are_counted_and_may_collide(tmp_path, batch_settings):
    rows = [{"id": n, "digit": "a", "path": f"k{n}.mp3"} for n in range(3)]
    rows += [{"id": 3, "digit": "a", "path": "k3.wav"}, {"id": 4, "digit": "a", "path": "K0.flac"}]
    summary = summary_of(tmp_path, batch_settings, rows)
    assert summary.replaced_suffixes == {"path": 3}
    assert [row.line for row in summary.invalid_rows] == [5]
    assert "same file as line 1" in summary.invalid_rows[0].reason


def test_a_damaged_default_checkpoint_is_one_error(tmp_path):
    with pytest.raises(CheckpointError):
        summary_of(tmp_path, BatchSettings(str(tmp_path / "none")), [{"id": "x"}, {"id": "y"}])
    summary = summary_of(tmp_path, BatchSettings(str(tmp_path / "none")), [{"checkpoint": "gone"}])
    assert summary.invalid_count == 1


def test_the_summary_counts_rows_and_audio(tmp_path, batch_settings):
    rows = [{"id": n, "digit": "abd"[n % 3], "seconds": 0.5} for n in range(9)]
    summary = summary_of(tmp_path, batch_settings, rows)
    assert (summary.rows, summary.valid_count, summary.invalid_count) == (9, 6, 3)
    assert summary.seconds == 3.0
    assert [row.line for row in summary.invalid_rows] == [3, 6, 9]
    assert summary_of(tmp_path, batch_settings, rows, limit=2).rows == 2
    book = {"id": "x", "digit": json.dumps("y" * 100_000)}
    assert len(summary_of(tmp_path, batch_settings, [book]).invalid_rows[0].reason) <= 500
    assert not (tmp_path / "out").exists()


def test_the_recordings_of_a_row_are_read_as_chosen_and_their_levels_are_kept(tiny, tmp_path):
    tone = sine(0.05).numpy()
    loud = np.stack([6 * tone, tone], axis=1)
    soundfile.write(tmp_path / "p.wav", loud, RATE, subtype="FLOAT")
    mix = task_of(BatchSettings(tiny, str(tmp_path)), id="x", prompt="p.wav")
    assert (mix.input_levels.over_count, mix.input_levels.scaled_count) == (1, 0)
    chosen = BatchSettings(tiny, str(tmp_path), channel="left", normalize_inputs=True)
    left = task_of(chosen, id="x", prompt="p.wav")
    assert (left.input_levels.over_count, left.input_levels.scaled_count) == (0, 1)
    assert torch.allclose(make_request(left).prompt, 2 * sine(0.05), atol=1e-3)
    assert left.params_hash != mix.params_hash
    # a row without recordings does not depend on how they are read
    settings = BatchSettings(tiny, str(tmp_path))
    assert task_of(settings, id="x").params_hash == task_of(chosen, id="x").params_hash
