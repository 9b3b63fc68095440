"""Recordings of the Train tab: their collection, inspection and description."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from audio_utils.levels import LevelSummary
from wavenet.errors import ConditionError
from wavenet.recordings.audio_metadata import find_audio_files
from wavenet.training import run_process
from wavenet.training.dataset_report import DatasetReport
from wavenet.training.run_process import RunPlan
from wavenet.ui import training_recordings
from wavenet.ui.train_tab import inspect_recordings, start_run
from wavenet.ui.training_recordings import copy_uploads, report_warnings, safe_name, write_notes

INJECTION = "<img src=x onerror=alert(1)>"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    write_notes(tmp_path / "notes")
    return tmp_path / "notes"


def last(updates: Iterator[tuple[Any, ...]]) -> tuple[Any, ...]:
    return list(updates)[-1]


def test_report_shows_facts_labels_and_recipes(notes: Path) -> None:
    report, labels, recipes, inspected = last(inspect_recordings(str(notes), None, "{note}_{take}"))
    for text in ("20", "8,000 Hz", "10 s", "c4, c5, e4, g4", "file names", "Only 10 s"):
        assert text in report
    assert labels["choices"] == [("note (4)", "note"), ("take (5)", "take")]
    assert labels["value"] == ["note"]
    assert [name for _, name in recipes["choices"]] == [
        "tiny",
        "small",
        "strings",
        "vocoder",
    ]
    names, suggested = ["note", "take"], ["note"]
    assert inspected == [str(notes), None, "{note}_{take}", None, names, suggested]


def test_pattern_is_suggested_for_similar_file_names(notes: Path) -> None:
    report = last(inspect_recordings(str(notes), None, ""))[0]
    assert "<code>{" in report


def test_folders_with_labels_get_a_pattern(tmp_path: Path, notes: Path) -> None:
    for path in notes.glob("*.wav"):
        label, take = path.stem.split("_")
        (tmp_path / "sorted" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "sorted" / label / f"{take}.wav")
    report = last(inspect_recordings(str(tmp_path / "sorted"), None, ""))[0]
    assert "<code>{label}/{take}</code>" in report
    labels = last(inspect_recordings(str(tmp_path / "sorted"), None, "{label}/{take}"))[1]
    assert ("label (4)", "label") in labels["choices"]


def test_a_pattern_that_would_freeze_the_studio_is_refused(notes: Path) -> None:
    """Regression: the match needed 15 s for one name and stopped the page of every user."""
    shutil.copy(notes / "c4_1.wav", notes / f"{'a' * 100}.wav")
    start = time.perf_counter()
    with pytest.raises(gr.Error, match="without a text between them"):
        last(inspect_recordings(str(notes), None, "{a}{b}{c}{d}{e}{f}X"))
    with pytest.raises(gr.Error, match="fits the pattern"):
        last(inspect_recordings(str(notes), None, "{a}a{b}a{c}a{d}a{e}a{f}X"))
    assert time.perf_counter() - start < 1


def test_files_that_are_left_out_and_doubtful_labels_are_shown(notes: Path) -> None:
    for n in range(3):
        (notes / f"{INJECTION}_{n}.tta").touch()
    shutil.copy(notes / "c4_1.wav", notes / f"{INJECTION} x_1.wav")
    shutil.copy(notes / "c4_1.wav", notes / "c4_1_2.wav")
    report = last(inspect_recordings(str(notes), None, "{note}_{take}"))[0]
    assert "<img" not in report
    for text in (
        "Warning: 4 of 25 audio files (16%) are left out",
        "(.tta): 3 files",
        "c4_1_2.wav (3 parts separated by &#x27;_&#x27;, expected 2)",
        "Doubtful label: note: 1 value of 5 in only one recording",
    ):
        assert text in report


def test_uploads_are_inspected_and_copied_to_the_run_under_safe_names(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[RunPlan] = []
    monkeypatch.setattr(
        run_process, "_start_process", lambda plan, folder, worker: started.append(plan)
    )
    runs_dir = tmp_path / "runs"
    (tmp_path / "other").mkdir()
    shutil.copy(notes / "c4_1.wav", tmp_path / "other" / "c4_1.wav")
    uploads = [
        str(notes / "c4_1.wav"),
        str(tmp_path / "other" / "c4_1.wav"),
        str(notes / "e4_1.wav"),
    ]
    report, *_, inspected = last(inspect_recordings("", uploads, None))
    assert "3" in report
    assert str(Path(inspected[1][0]).parent) not in report
    start_run(runs_dir, tmp_path, "", uploads, None, None, [], "tiny", 10, "mine", inspected)
    (plan,) = started
    assert plan.data is None
    names = sorted(path.name for path in (runs_dir / "mine" / "recordings").iterdir())
    assert names == ["c4_1-2.wav", "c4_1.wav", "e4_1.wav"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../up.wav", "up.wav"),
        ("a b_ä_1.WAV", "a b_ä_1.WAV"),
        ("<b>: it's 5$!.Flac", "<b>: it's 5$!.Flac"),
        (".hidden.wav", ".hidden.wav"),
        ("metadata.csv", "metadata.csv"),
        ("a\x1b[2J\n\udce9.wav", "a-[2J--.wav"),
        ("other.csv", None),
        ("run.sh", None),
        (".wav", None),
        ("é" * 300 + ".wav", "é" * 125 + ".wav"),
    ],
)
def test_file_names_of_uploads_stay_or_become_valid(name: str, safe: str | None) -> None:
    if safe is None:
        with pytest.raises(ConditionError, match="not supported"):
            safe_name(name)
    else:
        assert safe_name(name) == safe


@pytest.mark.parametrize("names", [("ZOOM0001.WAV", "it's 5:00!.wav"), ("Ä <b> {x}.wav",)])
def test_tables_refer_to_the_original_names(
    tmp_path: Path, notes: Path, names: tuple[str, ...]
) -> None:
    """Uploads had the suffix .wav instead of .WAV, so that no row of a table matched."""
    table = tmp_path / "metadata.csv"
    rows = "".join(f'"{name}",word{n}\n' for n, name in enumerate(names))
    table.write_text(f"file_name,word\n{rows}")
    uploads = [str(table)]
    for n, name in enumerate(names):
        folder = tmp_path / str(n)
        folder.mkdir()
        uploads.append(shutil.copy(notes / "c4_1.wav", folder / name))
    copied = tmp_path / "copied"
    copied.mkdir()
    copy_uploads(uploads, copied)
    found = [(file.path.name, file.fields["word"]) for file in find_audio_files(copied)]
    assert sorted(found) == sorted((name, f"word{n}") for n, name in enumerate(names))
    report = last(inspect_recordings(None, uploads, None))[0]
    assert f"<dt>Recordings</dt><dd>{len(names)}</dd>" in report


def test_two_files_of_one_name_and_a_table_are_an_error(tmp_path: Path, notes: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,word\nc4_1.wav,a\n")
    (tmp_path / "other").mkdir()
    twice = [str(notes / "c4_1.wav"), shutil.copy(notes / "c4_1.wav", tmp_path / "other")]
    with pytest.raises(ConditionError, match=r"two dropped files are named c4_1\.wav"):
        copy_uploads([*twice, str(tmp_path / "metadata.csv")], tmp_path / "copied")


def test_too_many_or_too_large_files_are_an_error(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(notes / "c4_1.wav")
    with pytest.raises(ConditionError, match="501 files"):
        copy_uploads([path] * 501, tmp_path)
    monkeypatch.setattr(training_recordings, "MAX_MEGABYTES", 0.01)
    with pytest.raises(ConditionError, match="MB"):
        copy_uploads([path] * 2, tmp_path)
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize(
    ("folder", "uploads", "words"),
    [
        (None, None, "There are no recordings"),
        ("  ", [], "There are no recordings"),
        ("/no/such", None, "is not a folder"),
        ("x\0y", None, "is not a folder"),
        ("~nobody-here/x", None, "is not a folder"),
        ("/tmp", ["a.wav"], "both given"),
    ],
)
def test_missing_recordings_are_an_error(
    folder: str | None, uploads: list[str] | None, words: str
) -> None:
    with pytest.raises(gr.Error, match=words):
        last(inspect_recordings(folder, uploads, None))


def test_home_folder_is_expanded(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(notes.parent))
    report = last(inspect_recordings(" ~/notes ", None, None))[0]
    assert "<dt>Recordings</dt><dd>20</dd>" in report


def test_report_is_escaped(notes: Path) -> None:
    shutil.copy(notes / "c4_1.wav", notes / f"{INJECTION}_1.wav")
    (notes / f"{INJECTION}_2.wav").write_bytes(b"no audio")
    report = last(inspect_recordings(str(notes), None, "{note}_{take}"))[0]
    assert "<img" not in report
    assert "&lt;img" in report
    assert str(notes) not in report


def test_warnings_describe_problems_of_recordings() -> None:
    report = DatasetReport(
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
        levels=LevelSummary(("c.wav",), 1, 2.0, 0, ("d.wav",), 1),
    )
    warnings = " ".join(report_warnings(report))
    for text in ("b.wav is no audio", "clipped (a.wav)", "50 %", "rates differ", "mixed to mono"):
        assert text in warnings
    assert "memorises" not in warnings
    assert "1 file has samples beyond full scale, the largest by 6.0 dB" in warnings
    assert "cancel each other when they are mixed (d.wav)" in warnings
    assert "--" not in warnings
    clean = DatasetReport(files=1, done=1, readable=1, seconds=4000, rates={8000: 1}, silent=0.1)
    assert report_warnings(clean) == []


def test_invalid_or_deleted_uploads_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,word\n../a.wav,b\n")
    with pytest.raises(gr.Error, match="outside its folder") as error:
        last(inspect_recordings(None, [str(tmp_path / "metadata.csv")], None))
    assert "/tmp" not in str(error.value)
    write_notes(tmp_path)
    with pytest.raises(gr.Error, match="the dropped files"):
        last(inspect_recordings(None, [str(tmp_path / "c4_1.wav")], "{a}-{b}"))
    with pytest.raises(gr.Error, match="deleted"):
        last(inspect_recordings(None, [str(tmp_path / "gone.wav")], None))
