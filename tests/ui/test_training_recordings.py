"""Recordings of the Train tab: their collection, inspection and description."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from audio_utils.levels import LevelSummary
from wavenet.errors import ConditionError
from wavenet.recordings.audio_metadata import find_audio_files
from wavenet.training import run_process
from wavenet.training.dataset_report import DatasetReport
from wavenet.training.example_run import write_notes
from wavenet.training.run_process import RunPlan
from wavenet.ui.event_handling import PageJobs
from wavenet.ui.train import training_recordings
from wavenet.ui.train.recording_scan import run_scan
from wavenet.ui.train.train_events import TrainSetup, inspect_recordings, start_run
from wavenet.ui.train.training_recordings import (
    copy_uploads,
    report_warnings,
    safe_name,
)

from .bare_page import bare_page, merge

INJECTION = "<img src=x onerror=alert(1)>"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    write_notes(tmp_path / "notes")
    return tmp_path / "notes"


CHOSEN: dict[str, Any] = {"recipe": "small", "start_from": "", "inspected": None}


@pytest.fixture
def setup(tmp_path: Path) -> TrainSetup:
    """What the callbacks of the tab use."""
    return TrainSetup(bare_page(tmp_path / "checkpoints"), tmp_path / "runs")


JOB: dict[str, Any] = {"job_number": 1, "previous_job": None}


def inspect(
    setup: TrainSetup,
    folder: Path | str | None = None,
    pattern: str | None = None,
    uploads: list[str] | None = None,
    table: str | None = None,
) -> dict[str, Any]:
    """Return the newest outputs of an inspection."""
    path = folder and str(folder)
    source = {"folder": path, "uploads": uploads, "pattern": pattern, "table": table}
    return merge(inspect_recordings(setup, False, **JOB, **source, **CHOSEN))


def report_of(*args: Any, **values: Any) -> str:
    return str(inspect(*args, **values)["report"])


def test_report_shows_facts_labels_and_recipes(setup: TrainSetup, notes: Path) -> None:
    found = inspect(setup, notes, "{note}_{take}")
    for text in ("20", "8,000 Hz", "10 s", "c4, c5, e4, g4", "file names", "Only 10 s"):
        assert text in found["report"]
    assert found["labels"]["choices"] == [("note (4)", "note"), ("take (5)", "take")]
    assert found["labels"]["value"] == ["note"]
    names = [name for _, name in found["recipe"]["choices"]]
    assert names == ["tiny", "small", "strings", "vocoder"]
    inspected = found["inspected"]
    assert inspected.source == (str(notes), None, "{note}_{take}", None)
    assert (list(inspected.fields), inspected.suggested) == (["note", "take"], ["note"])


def test_pattern_is_suggested_for_similar_file_names(setup: TrainSetup, notes: Path) -> None:
    found = inspect(setup, notes)
    assert found["suggested"] == "{field1}_{field2}"
    assert found["suggestion"] == gr.update(value="Use the pattern {field1}_{field2}", visible=True)
    assert not inspect(setup, notes, "{note}_{take}")["suggestion"]["visible"]


def test_names_that_do_not_fit_are_counted_and_get_a_pattern(
    setup: TrainSetup, notes: Path
) -> None:
    for n in range(1, 6):
        (notes / f"c4_{n}.wav").rename(notes / f"c4_loud_{n}.wav")
        (notes / f"e4_{n}.wav").rename(notes / f"e4_loud_{n}.wav")
    found = inspect(setup, notes, "{note}_{take}")
    assert "10 of 20 names do not fit the pattern, for example c4_loud_1.wav" in found["report"]
    assert found["suggested"] == "{note}_{take}_{field3}"
    other = inspect(setup, notes, "{note}-{take}")
    assert "fits the pattern" in other["report"] and "role='alert'" in other["report"]
    assert other["inspected"] is None
    assert inspect(setup, notes / "..", "{a}+{b}")["suggested"] is None


def test_folders_with_labels_get_a_pattern(setup: TrainSetup, tmp_path: Path, notes: Path) -> None:
    for path in notes.glob("*.wav"):
        label, take = path.stem.split("_")
        (tmp_path / "sorted" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "sorted" / label / f"{take}.wav")
    assert inspect(setup, tmp_path / "sorted")["suggested"] == "{label}/{take}"
    labels = inspect(setup, tmp_path / "sorted", "{label}/{take}")["labels"]
    assert ("label (4)", "label") in labels["choices"]


def test_a_pattern_that_would_freeze_the_studio_is_refused(setup: TrainSetup, notes: Path) -> None:
    """Regression: the match needed 15 s for one name and stopped the page of every user."""
    shutil.copy(notes / "c4_1.wav", notes / f"{'a' * 100}.wav")
    start = time.perf_counter()
    assert "without a text between them" in report_of(setup, notes, "{a}{b}{c}{d}{e}{f}X")
    assert "fits the pattern" in report_of(setup, notes, "{a}a{b}a{c}a{d}a{e}a{f}X")
    assert time.perf_counter() - start < 1


def many_reports(count: int, wait: Callable[[], object]) -> Callable[..., Any]:
    def scan(on_found: Callable[[int], None]) -> Iterator[DatasetReport]:
        on_found(count)
        for done in range(count):
            wait()
            yield DatasetReport(files=count, done=done + 1)

    return scan


def test_a_scan_reports_while_it_searches_and_reads() -> None:
    found: list[Any] = []
    step = threading.Event()

    def search(on_found: Callable[[int], None]) -> Iterator[DatasetReport]:
        on_found(7)
        step.wait(10)
        yield DatasetReport(files=7, done=7)

    for progress in run_scan(search, lambda: True, seconds=0.01):
        found.append(progress)
        if progress == 7:
            step.set()
    assert 7 in found
    assert found[-1] == DatasetReport(files=7, done=7)


@pytest.mark.parametrize("how", ["stopped", "closed"])
def test_a_scan_ends_when_it_is_stopped_or_its_page_is_closed(how: str) -> None:
    before, jobs = threading.active_count(), PageJobs()
    reports = run_scan(
        many_reports(10**6, lambda: time.sleep(0.001)),
        lambda: jobs.is_wanted(1),
        seconds=0.01,
    )
    next(reports)
    if how == "closed":
        reports.close()  # type: ignore[attr-defined]
    else:
        jobs.stopped.add(1)
        assert len(list(reports)) <= 1
    assert threading.active_count() == before


def test_an_error_of_a_scan_is_raised_to_its_reader() -> None:
    def scan(on_found: Callable[[int], None]) -> Iterator[DatasetReport]:
        raise ConditionError("not here")
        yield

    with pytest.raises(ConditionError, match="not here"):
        list(run_scan(scan, lambda: True))


def test_a_stopped_inspection_says_so_and_another_one_replaces_it(
    setup: TrainSetup, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = many_reports(10**6, lambda: time.sleep(0.001))
    monkeypatch.setattr(
        "wavenet.ui.train.train_events.scan_dataset", lambda *args, on_found: slow(on_found)
    )
    source = {"folder": str(notes), "uploads": None, "pattern": None, "table": None}

    def begin(number: int) -> Any:
        job = {"job_number": number, "previous_job": number - 1}
        updates = inspect_recordings(setup, False, **job, **source, **CHOSEN)
        assert next(updates)["stop_scan"] == gr.update(interactive=True)
        assert "of 1,000,000 recordings" in next(updates)["report"]
        return updates

    first = begin(1)
    setup.scans.stopped.add(7)  # another page
    assert "Reading" in next(first)["report"]
    setup.scans.stopped.add(1)
    assert "Stopped after" in merge(first)["report"]
    second, third = begin(2), begin(3)
    assert merge(second) == {}, "its page shows the report of the third one"
    third.close()


def test_files_that_are_left_out_and_doubtful_labels_are_shown(
    setup: TrainSetup, notes: Path
) -> None:
    for n in range(3):
        (notes / f"{INJECTION}_{n}.tta").touch()
    shutil.copy(notes / "c4_1.wav", notes / f"{INJECTION} x_1.wav")
    shutil.copy(notes / "c4_1.wav", notes / "c4_1_2.wav")
    report = report_of(setup, notes, "{note}_{take}")
    assert "<img" not in report
    for text in (
        "Warning: 4 of 25 audio files (16%) are left out",
        "(.tta): 3 files",
        "c4_1_2.wav (3 parts separated by &#39;_&#39;, expected 2)",
        "Doubtful label: note: 1 value of 5 in only one recording",
    ):
        assert text in report


def test_uploads_are_inspected_and_copied_to_the_run_under_safe_names(
    setup: TrainSetup, tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[RunPlan] = []
    monkeypatch.setattr(
        run_process, "_start_process", lambda plan, folder, worker: started.append(plan)
    )
    (tmp_path / "other").mkdir()
    shutil.copy(notes / "c4_1.wav", tmp_path / "other" / "c4_1.wav")
    uploads = [
        str(notes / "c4_1.wav"),
        str(tmp_path / "other" / "c4_1.wav"),
        str(notes / "e4_1.wav"),
    ]
    found = inspect(setup, uploads=uploads)
    assert "<dd>3</dd>" in found["report"]
    assert "wavenet" not in found["report"]
    plan_of = {"folder": "", "uploads": uploads, "pattern": None, "table": None, "labels": []}
    chosen = {"start_from": "", "recipe": "tiny", "steps": 10, "name": "mine"}
    start_run(setup, **plan_of, **chosen)
    (plan,) = started
    assert plan.data is None
    names = sorted(path.name for path in (setup.runs_dir / "mine" / "recordings").iterdir())
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
    setup: TrainSetup, tmp_path: Path, notes: Path, names: tuple[str, ...]
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
    report = report_of(setup, uploads=uploads)
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
        (None, None, "no recordings"),
        ("  ", [], "no recordings"),
        ("/no/such", None, "is not a folder"),
        ("x\0y", None, "is not a folder"),
        ("~nobody-here/x", None, "is not a folder"),
        ("/tmp", ["a.wav"], "both given"),
        (None, ["a.txt", "run.sh"], "one of the dropped files is a recording: a.txt"),
    ],
)
def test_missing_recordings_are_an_error(
    setup: TrainSetup, folder: str | None, uploads: list[str] | None, words: str
) -> None:
    source = {"folder": folder, "uploads": uploads, "pattern": None, "table": None}
    with pytest.raises(gr.Error, match=words):
        merge(inspect_recordings(setup, True, **JOB, **source, **CHOSEN))


def test_home_folder_is_expanded(
    setup: TrainSetup, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(notes.parent))
    report = report_of(setup, " ~/notes ")
    assert "<dt>Recordings</dt><dd>20</dd>" in report


def test_report_is_escaped(setup: TrainSetup, notes: Path) -> None:
    shutil.copy(notes / "c4_1.wav", notes / f"{INJECTION}_1.wav")
    (notes / f"{INJECTION}_2.wav").write_bytes(b"no audio")
    report = report_of(setup, notes, "{note}_{take}")
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


def test_invalid_or_deleted_uploads_are_an_error(setup: TrainSetup, tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,word\n../a.wav,b\n")
    report = report_of(setup, uploads=[str(tmp_path / "metadata.csv")])
    assert "outside its folder" in report
    assert "/tmp" not in report
    write_notes(tmp_path)
    report = report_of(setup, pattern="{a}-{b}", uploads=[str(tmp_path / "c4_1.wav")])
    assert "the dropped files" in report
    assert "deleted" in report_of(setup, uploads=[str(tmp_path / "gone.wav")])


def test_readable_uploads_are_used_and_the_others_are_named(
    setup: TrainSetup, notes: Path, tmp_path: Path
) -> None:
    (tmp_path / "cover.jpg").write_bytes(b"no audio")
    (notes / "broken.wav").write_bytes(b"no audio")
    names = [notes / "c4_1.wav", tmp_path / "cover.jpg", notes / "broken.wav"]
    report = report_of(setup, uploads=[str(path) for path in names])
    assert "<dt>Recordings</dt><dd>1</dd>" in report
    assert "Not used: cover.jpg is not supported" in report
    assert "1 recording is skipped: broken.wav" in report


def test_a_broken_file_is_listed_once(setup: TrainSetup, notes: Path) -> None:
    (notes / "broken.wav").write_bytes(b"no audio")
    assert report_of(setup, notes).count("broken.wav") == 1
