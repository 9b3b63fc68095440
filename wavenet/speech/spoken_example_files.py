"""Examples of all aligned clips of a corpus, computed by worker processes and stored on disk.

Input: aligned clips and the folder of their recordings. Output: one file per clip,
`KEY.safetensors`, where KEY is a hash of everything that determines the example. A file that exists
is not computed again, so an interrupted run continues. A clip that fails, or that ends the process
that computes it, costs only itself. Called by `train_voice.py`.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from audio_utils import io
from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.errors import AudioError
from audio_utils.levels import Channel
from wavenet.errors import ConditionError, DataError, FolderError, TrainingError
from wavenet.progress import Progress
from wavenet.speech.acoustic_model import AcousticConfig
from wavenet.speech.alignment_file import AlignedClip
from wavenet.speech.pronunciation import PhoneSource
from wavenet.speech.spoken_examples import SpokenExample, make_example
from wavenet.speech.text_to_phones import text_to_phones
from wavenet.worker_pool import (
    TaskQueue,
    TaskScheduler,
    WorkerConnection,
    WorkerPool,
    run_worker,
)

VERSION = 2  # of the files; another one computes all examples again
MAX_CRASHES = 1  # of a clip that is retried alone
LENGTH_TOLERANCE = 0.05  # s, between the recording and its alignment
_TENSORS = ("tokens", "durations", "f0", "is_voiced", "energy", "frames")


@dataclass(frozen=True)
class ExampleSource:
    """How examples are computed from recordings.

    Attributes:
        recordings: folder of the corpus.
        examples: folder of the files.
        config: of the acoustic model: its rate and its frames.
        channel, normalize: how recordings are read.
    """

    recordings: Path
    examples: Path
    config: AcousticConfig
    channel: Channel = "mix"
    normalize: bool = False

    def path(self, key: str) -> Path:
        """Return the file of an example."""
        return self.examples / f"{key}.safetensors"

    def read(self, audio: str) -> Tensor:
        """Return a recording (T,), by its path in the corpus.

        Raises:
            AudioError: it cannot be read.
        """
        rate, path = self.config.sample_rate, self.recordings / audio
        return io.read(path, rate, channel=self.channel, normalize=self.normalize).waveform


@dataclass(frozen=True)
class ExampleTask:
    """A clip whose example is computed; `key` is its position, `name` that of the file."""

    key: int
    clip: AlignedClip
    name: str


@dataclass
class ExampleQueue(TaskQueue[ExampleTask]):
    """The clips as tasks; collects the clips that fail."""

    tasks: Iterator[ExampleTask]
    progress: Progress
    failed: dict[int, str] = field(default_factory=dict)

    def next_task(self) -> ExampleTask | None:
        """Return the next clip, or None if no clips are left."""
        return next(self.tasks, None)

    def update_task(self, task: ExampleTask, state: Any) -> None:
        """Do nothing: a clip has no states."""

    def finish_task(self, task: ExampleTask, result: str) -> None:
        """Count a clip; store why it failed, if `result` is not empty."""
        if result:
            self.failed[task.key] = f"{task.clip.id}: {result}"
        self.progress.advance(1)

    def handle_crash(self, task: ExampleTask, crashes: int) -> bool:
        """Return whether to try a clip again that ended a process."""
        if crashes < MAX_CRASHES:
            return True
        self.finish_task(task, f"{task.clip.audio} ended the process that read it")
        return False


def compute_examples(
    source: ExampleSource,
    clips: Sequence[AlignedClip],
    workers: int,
    open_progress: Callable[[int], AbstractContextManager[Progress]],
) -> tuple[dict[str, str], list[str]]:
    """Compute the examples of clips that have no file yet.

    Args:
        workers: number of processes.
        open_progress: called with the number of clips that are computed; counts clips.
    Returns:
        By id of each clip the key of its example, in the order of the clips; and a sentence for
        each clip that failed.
    Raises:
        FolderError: a file cannot be written.
    """
    names, tasks, failed = [], [], {}
    for position, clip in enumerate(clips):
        names.append(name := _make_key(source, clip))
        if not source.path(name).is_file():
            tasks.append(ExampleTask(position, clip, name))
    if tasks:
        _create_folder(source.examples)
        with open_progress(len(tasks)) as progress:
            queue = ExampleQueue(iter(tasks), progress)
            _run_workers(queue, source, min(workers, len(tasks)))
        failed = queue.failed
    keys = {clip.id: names[n] for n, clip in enumerate(clips) if n not in failed}
    return keys, [failed[n] for n in sorted(failed)]


def _run_workers(queue: ExampleQueue, source: ExampleSource, count: int) -> None:
    scheduler = TaskScheduler(queue, queue.progress)
    # spawned, not forked: the libraries of this process may have threads
    context = multiprocessing.get_context("spawn")
    WorkerPool(scheduler, context, example_worker_main, (source,)).run(count)


def example_worker_main(pipe: Connection, source: ExampleSource) -> None:
    """Compute examples in a worker process until the pool releases it."""
    torch.set_num_threads(1)

    def work(connection: WorkerConnection[ExampleTask]) -> None:
        while (task := connection.next_task()) is not None:
            connection.finish_task(task, write_example(source, task))

    run_worker(pipe, work)


def write_example(source: ExampleSource, task: ExampleTask) -> str:
    """Compute and write an example; return "", or why it failed.

    Raises:
        FolderError: the file cannot be written.
    """
    clip, config = task.clip, source.config
    try:
        waveform = source.read(clip.audio)
        seconds = waveform.numel() / config.sample_rate
        if abs(seconds - clip.seconds) > LENGTH_TOLERANCE:
            return (
                f"the recording has {seconds:.2f} s, its alignment {clip.seconds:.2f} s; align the "
                "corpus again"
            )
        sentences = list(text_to_phones(clip.text, _user_pronunciations(clip)))
        example = make_example(config, clip.id, 0, waveform, sentences, clip.times)
    except (AudioError, ConditionError, DataError) as error:
        return str(error)
    content = {name: getattr(example, name).contiguous() for name in _TENSORS}
    try:
        with atomic_file(source.path(task.name)) as path:
            facts = {"version": str(VERSION), "start": str(example.start)}
            path.write_bytes(save_tensors(content, facts))
    except OSError as error:
        raise _cannot_write(source.examples, error) from None
    return ""


def read_example(path: Path, clip: str) -> SpokenExample:
    """Read the example of a clip.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            content = {name: file.get_tensor(name) for name in _TENSORS}
            start = int((file.metadata() or {})["start"])
        lengths = {len(content[name]) for name in _TENSORS if name != "frames"}
        if len(lengths) != 1 or int(content["durations"].sum()) != len(content["frames"]):
            raise ValueError("its lengths differ")
        return SpokenExample(clip, 0, **content, start=start)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"{path} is missing or damaged: {error}; delete it and clips.jsonl, and resume to "
            "compute it again"
        ) from None


def _make_key(source: ExampleSource, clip: AlignedClip) -> str:
    """Return a hash of everything that determines the example of a clip."""
    config = source.config
    try:
        status = os.stat(source.recordings / clip.audio)
        file = (status.st_size, status.st_mtime_ns)
    except OSError:
        file = (0, 0)  # reading it reports the error
    words = [(word.phones, word.pause) for word in clip.words]
    settings = (config.sample_rate, config.hop, config.mel.model_dump_json(exclude={"channels"}))
    content = repr(
        (VERSION, clip.id, clip.text, words, file, settings, source.channel, source.normalize)
    )
    return hashlib.blake2b(content.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _user_pronunciations(clip: AlignedClip) -> dict[str, str]:
    """Return the pronunciations with which a user has aligned a clip."""
    return {
        word.read: " ".join(symbol for symbol, _, _ in word.phones)
        for word in clip.words
        if word.source is PhoneSource.USER and word.read
    }


def _create_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from None


def _cannot_write(folder: Path, error: OSError) -> FolderError:
    return FolderError(f"{folder} cannot be written: {os_error_reason(error)}")
