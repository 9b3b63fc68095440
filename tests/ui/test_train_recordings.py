"""What the Train tab says about recordings, and how it takes them in."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from wavenet.errors import ConditionError
from wavenet.training import dataset_report, run_process
from wavenet.training.run_process import RunPlan
from wavenet.ui import recordings, training

HARM = "<img src=x onerror=alert(1)>"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    recordings.write_notes(tmp_path / "notes")
    return tmp_path / "notes"


def last(updates: Iterator[tuple[Any, ...]]) -> tuple[Any, ...]:
    return list(updates)[-1]


def test_recordings_are_reported_on_with_labels_and_recipes(notes: Path) -> None:
    report, labels, fitting, looked = last(training.look_at(str(notes), None, "{note}_{take}"))
    for words in ("20", "8,000 Hz", "10 s", "c4, c5, e4, g4", "file names", "learns so little"):
        assert words in report
    assert labels["choices"] == [("note (4)", "note"), ("take (5)", "take")]
    assert labels["value"] == ["note"]
    assert [name for _, name in fitting["choices"]] == [
        "tiny",
        "small",
        "strings",
        "vocoder",
    ]
    assert looked == [str(notes), None, "{note}_{take}", True]


def test_a_pattern_is_suggested_where_names_have_one_shape(notes: Path) -> None:
    report = last(training.look_at(str(notes), None, ""))[0]
    assert "<code>{" in report


def test_dropped_files_are_looked_at_and_learnt_from_under_safe_names(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[RunPlan] = []
    monkeypatch.setattr(
        run_process, "_start_process", lambda plan, folder, worker: started.append(plan)
    )
    place = tmp_path / "runs"
    (tmp_path / "other").mkdir()
    shutil.copy(notes / "c4_1.wav", tmp_path / "other" / "c4_1.wav")
    dropped = [
        str(notes / "c4_1.wav"),
        str(tmp_path / "other" / "c4_1.wav"),
        str(notes / "e4_1.wav"),
    ]
    report, *_, looked = last(training.look_at("", dropped, None))
    assert "3" in report
    assert str(Path(looked[1][0]).parent) not in report
    training.begin(place, tmp_path, "", dropped, None, [], "tiny", 10, "mine", looked)
    (plan,) = started
    assert plan.data is None
    names = sorted(path.name for path in (place / "mine" / "recordings").iterdir())
    assert names == ["c4_1-2.wav", "c4_1.wav", "e4_1.wav"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../up.wav", "up.wav"),
        ("a b_ä_1.WAV", "a b_ä_1.wav"),
        ("..wav", "recording.wav"),
        ("<b>.flac", "-b-.flac"),
        (".hidden.wav", "hidden.wav"),
        ("metadata.csv", "metadata.csv"),
        ("other.csv", None),
        ("run.sh", None),
        ("é" * 300 + ".wav", "é" * 50 + ".wav"),
    ],
)
def test_names_of_dropped_files(name: str, safe: str | None) -> None:
    if safe is None:
        with pytest.raises(ConditionError, match="not taken"):
            recordings.safe_name(name)
    else:
        assert recordings.safe_name(name) == safe


def test_too_many_or_too_large_files_are_refused(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(notes / "c4_1.wav")
    with pytest.raises(ConditionError, match="501 files"):
        recordings.bring([path] * 501, tmp_path)
    monkeypatch.setattr(recordings, "MAX_MEGABYTES", 0.01)
    with pytest.raises(ConditionError, match="MB"):
        recordings.bring([path] * 2, tmp_path)
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize(
    ("folder", "dropped", "words"),
    [
        (None, None, "There are no recordings yet"),
        ("  ", [], "There are no recordings yet"),
        ("/no/such", None, "is not a folder"),
        ("x\0y", None, "is not a folder"),
        ("~nobody-here/x", None, "is not a folder"),
        ("/tmp", ["a.wav"], "both given"),
    ],
)
def test_what_cannot_be_looked_at_is_a_sentence(
    folder: str | None, dropped: list[str] | None, words: str
) -> None:
    with pytest.raises(gr.Error, match=words):
        last(training.look_at(folder, dropped, None))


def test_nothing_in_a_report_acts(notes: Path) -> None:
    shutil.copy(notes / "c4_1.wav", notes / f"{HARM}_1.wav")
    (notes / f"{HARM}_2.wav").write_bytes(b"no audio")
    report = last(training.look_at(str(notes), None, "{note}_{take}"))[0]
    assert "<img" not in report
    assert "&lt;img" in report
    assert str(notes) not in report


def test_faults_of_recordings_are_told_in_words() -> None:
    found = dataset_report.DatasetReport(
        files=4,
        done=4,
        readable=3,
        seconds=4000,
        rates={8000: 1, 16000: 2},
        channels={1: 2, 2: 1},
        clipped=("a.wav",),
        clipped_count=1,
        silent=0.5,
        unreadable=("b.wav is no audio.",),
        unreadable_count=1,
    )
    told = " ".join(recordings.warnings(found))
    for words in ("b.wav is no audio", "clipped (a.wav)", "50 %", "rates differ", "mixed to one"):
        assert words in told
    assert "learns so little" not in told
    clean = dataset_report.DatasetReport(
        files=1, done=1, readable=1, seconds=4000, rates={8000: 1}, silent=0.1
    )
    assert recordings.warnings(clean) == []


def test_dropped_files_that_are_no_recordings_or_gone_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,word\n../a.wav,b\n")
    with pytest.raises(gr.Error, match="outside its folder") as error:
        last(training.look_at(None, [str(tmp_path / "metadata.csv")], None))
    assert "/tmp" not in str(error.value)
    recordings.write_notes(tmp_path)
    with pytest.raises(gr.Error, match="No file name in what was dropped fits"):
        last(training.look_at(None, [str(tmp_path / "c4_1.wav")], "{a}-{b}"))
    with pytest.raises(gr.Error, match="gone by now"):
        last(training.look_at(None, [str(tmp_path / "gone.wav")], None))
