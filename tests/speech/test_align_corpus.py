"""A corpus: workers, failures, crashes, and what a second run does again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.speech import speech_files
from tests.speech.speech_files import TEXTS, even_segments, fake_version, write_speech
from wavenet.errors import DataError, FolderInUse, WaveNetError
from wavenet.folder_lock import lock_folder
from wavenet.progress import CallbackProgress, NoProgress
from wavenet.speech import align_corpus as corpus_module
from wavenet.speech.align_corpus import AlignmentQueue, AlignmentTask, align_corpus
from wavenet.speech.alignment_file import partial_path, read_alignment
from wavenet.speech.speech_corpus import SpeechClip

TIMEOUT = 60.0  # seconds
PHONES = "Z IH1 B L AO0 R P"


@pytest.fixture
def folder(tmp_path):
    return write_speech(tmp_path / "voice")


@pytest.fixture
def without_workers(monkeypatch):
    """Align in this process, because the start of a worker takes seconds."""

    def run(queue, folder, aligner, count):
        while (task := queue.next_task()) is not None:
            queue.finish_task(task, corpus_module._align_task(task, folder, aligner))

    monkeypatch.setattr(corpus_module, "_run_workers", run)


def align(folder, aligner=even_segments, workers=1, version=fake_version, **options):
    out = folder / "alignment.jsonl"
    return align_corpus(folder, out, workers=workers, aligner=aligner, version=version, **options)


def test_the_file_is_the_same_for_any_number_of_workers(folder):
    result = align(folder)
    assert [clip.id for clip in result.clips] == list(TEXTS)
    assert (result.failed, result.problems, result.reused) == ((), (), 0)
    path = folder / "alignment.jsonl"
    assert read_alignment(path) == list(result.clips)
    first = path.read_bytes()
    path.unlink()
    align(folder, workers=3)
    assert path.read_bytes() == first
    assert not partial_path(path).exists()


@pytest.mark.usefixtures("without_workers")
def test_only_changed_clips_are_aligned_again(folder):
    align(folder)
    result = align(folder, aligner=speech_files.never_called)
    assert (len(result.clips), result.reused) == (3, 3)
    (folder / "metadata.csv").write_text("one|See saw.\ntwo|A saw.\n", encoding="utf-8")
    result = align(folder)
    assert [(clip.id, clip.text) for clip in result.clips] == [
        ("one", "See saw."),
        ("two", "A saw."),
    ]
    assert result.reused == 1
    assert align(folder, version=lambda: "even 2").reused == 0


@pytest.mark.usefixtures("without_workers")
def test_a_changed_pronunciation_changes_only_its_clips(folder):
    align(folder)
    result = align(folder, pronunciations={"zzyblorp": PHONES})
    assert result.reused == 2
    assert [phone for phone, *_ in result.clips[2].words[0].phones] == PHONES.split()


@pytest.mark.usefixtures("without_workers")
def test_a_failed_clip_is_recorded_with_its_reason_and_tried_again(folder):
    (folder / "wavs" / "two.wav").write_bytes(b"RIFF")
    with (folder / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write("four|text\n")
    result = align(folder, aligner=speech_files.refuse_short_texts)
    assert [clip.id for clip in result.clips] == ["one"]
    assert [clip.id for clip in result.failed] == ["two", "three"]
    assert "two.wav" in result.failed[0].error
    assert result.failed[1].error.startswith("the text does not match")
    assert result.problems[0].startswith("metadata.csv line 4: the recording of 'four' is missing")
    assert len(read_alignment(folder / "alignment.jsonl")) == 1
    result = align(folder)
    assert [clip.id for clip in result.failed] == ["two"]
    assert result.reused == 1


def test_a_clip_that_ends_its_process_costs_only_itself(folder):
    result = align(folder, aligner=speech_files.crash_on_short_texts)
    assert [clip.id for clip in result.clips] == ["one", "two"]
    assert [clip.id for clip in result.failed] == ["three"]
    assert "ended the process that aligned it" in result.failed[0].error


def test_an_aligner_that_always_ends_its_process_is_an_error():
    """Otherwise each clip of a large corpus would start two processes."""
    task = AlignmentTask(0, SpeechClip("a", "wavs/a.wav", "See."), (), "")
    queue = AlignmentQueue(iter(()), None, NoProgress())
    assert [queue.handle_crash(task, crashes) for crashes in (0, 1, 1, 1, 1)] == [
        True,
        *[False] * 4,
    ]
    with pytest.raises(WaveNetError, match="ended its process for 5 clips and aligned none"):
        queue.handle_crash(task, 1)
    queue.has_success = True
    assert not queue.handle_crash(task, 1)


@pytest.mark.usefixtures("without_workers")
def test_progress_counts_the_clips_that_are_aligned(folder):
    counts, done = [], []

    class Bar(CallbackProgress):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    def open_bar(clips):
        counts.append(clips)
        return Bar(done.append)

    align(folder, open_progress=open_bar)
    align(folder, open_progress=open_bar)
    assert (counts, sum(done)) == ([3], 3)


@pytest.mark.usefixtures("without_workers")
def test_another_file_is_not_replaced(folder):
    path = folder / "alignment.jsonl"
    path.write_text("my notes\n", encoding="utf-8")
    with pytest.raises(DataError, match="is not an alignment"):
        align(folder)
    assert path.read_text(encoding="utf-8") == "my notes\n"


@pytest.mark.usefixtures("without_workers")
def test_two_processes_do_not_write_the_same_file(folder):
    code = (
        "import sys, pathlib; from wavenet.folder_lock import lock_folder\n"
        "with lock_folder(pathlib.Path(sys.argv[1])): print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", code, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(FolderInUse):
            align(folder)
        holder.communicate(b"\n")
    with lock_folder(folder):
        pass


def test_a_killed_run_continues(tmp_path):
    """Control: the lines that were finished before the kill are not aligned again."""
    folder = write_speech(tmp_path / "voice", {f"c{n}": "See saw." for n in range(8)}, 0.2)
    code = (
        "import sys, pathlib\n"
        "from tests.speech.test_align_corpus import align\n"
        "from tests.speech.speech_files import slow_segments\n"
        "if __name__ == '__main__':\n"
        "    align(pathlib.Path(sys.argv[1]), slow_segments)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code, encoding="utf-8")
    partial = partial_path(folder / "alignment.jsonl")
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, script, folder], env=environment, start_new_session=True
    )
    try:
        end = time.monotonic() + TIMEOUT
        while not partial.exists() or partial.read_bytes().count(b"\n") < 3:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / "alignment.jsonl").exists()
    with partial.open("ab") as file:  # as if the kill had come within a line
        file.write(b'{"id": "c7", "au')
    header = json.loads(partial.read_bytes().partition(b"\n")[0])
    assert header["clips"] is None
    result = align(folder)
    assert 2 <= result.reused < 8
    assert len(result.clips) == 8
    assert not partial.exists()
