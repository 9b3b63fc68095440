"""Train a voice: from a folder of recordings and texts to a folder that `load_voice` reads.

Input: a `VoiceJob`. Output, in the folder of the training:

    voice.json          the settings, with which the training is resumed
    alignment/          the times of the phones, unless the corpus has its own alignment
    examples/           what the acoustic model learns of each clip
    clips.jsonl         the clips that are used, and those that are held out
    acoustic/           the state of the training of the acoustic model
    vocoder/            the training of the vocoder, a run as of any other recipe
    predicted/          the recordings with the frames that the acoustic model predicts
    adapted/            the training of the vocoder on these frames
    voice/              the voice, when both models are trained

Each step is skipped if its result exists. A training that was killed at any point continues, and
ends with the same voice. Called by `wavenet train`.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from audio_utils.atomic_files import os_error_reason
from wavenet.checkpoint import CARD, CheckpointConfig, load
from wavenet.config import make_config
from wavenet.devices import available_cores
from wavenet.disk_space import check_free_space
from wavenet.errors import DataError, FolderError
from wavenet.folder_lock import lock_folder
from wavenet.interrupts import stop_on_interrupt
from wavenet.progress import NoProgress, Progress
from wavenet.speech.acoustic_model import AcousticConfig, AcousticModel
from wavenet.speech.align_clip import AlignPhones
from wavenet.speech.align_corpus import CorpusAlignment, align_corpus
from wavenet.speech.alignment_checks import AlignmentFindings, check_alignment
from wavenet.speech.alignment_file import FILE_NAME as ALIGNMENT
from wavenet.speech.alignment_file import AlignedClip, FailedClip, read_alignment
from wavenet.speech.forced_alignment import align_phones, aligner_version
from wavenet.speech.predicted_frames import TABLE, write_predicted_recordings
from wavenet.speech.speech_corpus import list_clips
from wavenet.speech.spoken_example_files import ExampleSource, compute_examples, read_example
from wavenet.speech.spoken_examples import SpokenExample
from wavenet.speech.train_acoustic_model import (
    AcousticErrors,
    match_variance,
    measure_errors,
    measure_f0,
    train_acoustic_model,
)
from wavenet.speech.voice_card import VoiceTrainingSummary, format_card
from wavenet.speech.voice_clips import FILE_NAME as CLIPS
from wavenet.speech.voice_clips import (
    make_clips,
    predicted_data,
    read_clips,
    vocoder_data,
    write_clips,
)
from wavenet.speech.voice_folder import copy_vocoder, load_voice, save_acoustic_model
from wavenet.speech.voice_job import VoiceJob, open_training, write_text
from wavenet.training.loop import CHECKPOINT
from wavenet.training.recipe import RecipeConfig, TrainConfig
from wavenet.training.snapshots import has_snapshot
from wavenet.training.training_setup import TrainingSetup

EXAMPLES, ACOUSTIC, VOCODER_RUN, VOICE = "examples", "acoustic", "vocoder", "voice"
PREDICTED, ADAPTED = "predicted", "adapted"
MAX_WORKERS = 8
FLOAT_BYTES = 4


def _no_progress(unit: str, total: int) -> AbstractContextManager[Progress]:
    return nullcontext(NoProgress())


@dataclass(frozen=True)
class VoiceCallbacks:
    """What the caller of a training does.

    Attributes:
        train_vocoder: trains a vocoder into a folder; resumes if the last argument is true. It
            raises an exception if it stops before the last step.
        report: receives each line for the user.
        open_progress: called with a unit in the plural and a number; counts this unit.
        describe_alignment: returns lines on an alignment.
        aligner, version: as in `align_corpus`.
    """

    train_vocoder: Callable[[TrainingSetup, Path, bool], None]
    report: Callable[[str], None] = lambda text: None
    open_progress: Callable[[str, int], AbstractContextManager[Progress]] = _no_progress
    describe_alignment: Callable[[CorpusAlignment, AlignmentFindings], Iterable[str]] = (
        lambda alignment, findings: ()
    )
    aligner: AlignPhones = align_phones
    version: Callable[[], str] = aligner_version


def train_voice(job: VoiceJob, callbacks: VoiceCallbacks) -> Path | None:
    """Train a voice, or continue its training.

    Returns:
        The folder of the voice; None if an interrupt (Ctrl-C) stopped the acoustic model.
    Raises:
        DataError: the corpus has no clips that can be used.
        TrainingError: the folder has a training that is not to be resumed, or of other settings, or
            none to resume; or a loss is not finite.
        ConfigError: pocketsphinx is needed and not installed, or a setting does not fit.
        FolderInUse: another process trains into the folder; FolderError: it cannot be written.
        CheckpointError: a model cannot be written.
    """
    config = job.acoustic_config
    list_clips(job.corpus)  # an unusable corpus is reported before the folder is created
    with lock_folder(job.folder):
        open_training(job)
        if (job.folder / VOICE).is_dir():
            callbacks.report("the voice is complete")
            return job.folder / VOICE
        if not (job.folder / CLIPS).is_file():
            _prepare_clips(job, config, callbacks)
        training, held_out = _read_examples(job)
        model = _train_acoustic_model(job, config, training, held_out, callbacks)
        if model is None:
            return None
        match_variance(model, training)
        vocoder = _train_vocoder(job, callbacks)
        if job.vocoder is None and job.recipe.adaptation.steps:
            vocoder = _adapt_vocoder(job, model, vocoder, callbacks)
        return _write_voice(job, model, vocoder, training, held_out)


def _prepare_clips(job: VoiceJob, config: AcousticConfig, callbacks: VoiceCallbacks) -> None:
    """Align the corpus, compute the examples, and write the table of the clips."""
    alignment = _align(job, callbacks)
    findings = check_alignment(alignment.clips)
    for line in callbacks.describe_alignment(alignment, findings):
        callbacks.report(line)
    doubtful = {clip.id for clip in findings.doubtful}
    if doubtful:
        are = "clip is" if len(doubtful) == 1 else "clips are"
        callbacks.report(f"{len(doubtful):,} doubtful {are} left out")
    clips = [clip for clip in alignment.clips if clip.id not in doubtful]
    seconds = sum(clip.seconds for clip in clips)
    size = seconds * config.frames_per_second * config.mel.n_mels * FLOAT_BYTES
    check_free_space(job.folder, size, "the examples of the recordings")
    source = _example_source(job)
    callbacks.report("computing frames and F0 of the clips")
    examples, failed = compute_examples(
        source, clips, _count_workers(job), lambda count: callbacks.open_progress("clips", count)
    )
    for sentence in failed:
        callbacks.report(f"left out: {sentence}")
    if not examples:
        reason = failed[0] if failed else next((c.error for c in alignment.failed), "none is left")
        raise DataError(f"{job.corpus} has no clip that can be used; the first error: {reason}")
    rows = make_clips(clips, examples, job.setup.recipe.data.validation_fraction)
    write_clips(job.folder / CLIPS, rows)


def _align(job: VoiceJob, callbacks: VoiceCallbacks) -> CorpusAlignment:
    """Return the alignment of the corpus, or else align it."""
    own = job.corpus / ALIGNMENT
    if own.is_file():
        callbacks.report(f"using the alignment {own}")
        return _read_own_alignment(job.corpus, own)
    callbacks.report("aligning texts and recordings")
    folder = job.folder / "alignment"
    return align_corpus(
        job.corpus,
        folder / ALIGNMENT,
        workers=_count_workers(job),
        open_progress=lambda count: callbacks.open_progress("clips", count),
        aligner=callbacks.aligner,
        version=callbacks.version,
    )


def _read_own_alignment(corpus: Path, path: Path) -> CorpusAlignment:
    """Read the alignment of a corpus; clips of the table with another text are failures."""
    aligned = {clip.id: clip for clip in read_alignment(path)}
    found = list_clips(corpus)
    clips: list[AlignedClip] = []
    failed: list[FailedClip] = []
    for clip in found.clips:
        line = aligned.get(clip.id)
        if line is not None and (line.text, line.audio) == (clip.text, clip.audio):
            clips.append(line)
        else:
            error = f"it is not in {path.name} with this text; align the corpus again"
            failed.append(FailedClip(id=clip.id, error=error))
    return CorpusAlignment(tuple(clips), tuple(failed), found.problems, len(clips))


def _example_source(job: VoiceJob) -> ExampleSource:
    data, examples = job.setup.recipe.data, job.folder / EXAMPLES
    return ExampleSource(job.corpus, examples, job.acoustic_config, data.channel, data.normalize)


def _read_examples(job: VoiceJob) -> tuple[list[SpokenExample], list[SpokenExample]]:
    """Return the examples to train on, and the held-out ones."""
    source = _example_source(job)
    parts: dict[str, list[SpokenExample]] = {"train": [], "validation": []}
    for clip in read_clips(job.folder / CLIPS):
        parts[clip.part].append(read_example(source.path(clip.example), clip.clip))
    return parts["train"], parts["validation"]


def _train_acoustic_model(
    job: VoiceJob,
    config: AcousticConfig,
    training: list[SpokenExample],
    held_out: list[SpokenExample],
    callbacks: VoiceCallbacks,
) -> AcousticModel | None:
    """Train the acoustic model to the last step; return None if an interrupt stopped it."""
    means, deviations = measure_f0(training, len(config.speakers))
    measured = {"f0_mean": tuple(means), "f0_deviation": tuple(deviations)}
    config = AcousticConfig(**{**dict(config), **measured})
    settings = job.recipe.acoustic_training
    minutes = count_seconds(config, training) / 60
    callbacks.report(
        f"training the acoustic model: {len(training):,} clips ({minutes:.1f} minutes), "
        f"{len(held_out):,} to validate"
    )
    last = 0
    with (
        _cpu_threads(job.threads),
        callbacks.open_progress("steps", settings.steps) as progress,
        stop_on_interrupt(callbacks.report) as should_stop,
    ):

        def report(step: int, errors: AcousticErrors | None) -> None:
            nonlocal last
            progress.advance(step - last)
            last = step
            if errors is not None:
                progress.message(f"step {step:,}: {describe_errors(errors)}")

        folder = job.folder / ACOUSTIC
        model = train_acoustic_model(
            config,
            settings,
            training,
            held_out,
            folder,
            lambda _: None,
            report,
            should_stop,
            job.initial_acoustic,
        )
    return None if 0 < last < settings.steps else model


def describe_errors(errors: AcousticErrors) -> str:
    """Return the errors of an acoustic model in a few words."""
    return (
        f"frames {errors.frames_db:.2f} dB, durations {errors.duration_ms:.1f} ms, "
        f"F0 {errors.f0_semitones:.2f} semitones, energy {errors.energy_db:.2f} dB"
    )


def count_seconds(config: AcousticConfig, examples: Iterable[SpokenExample]) -> float:
    """Return the length of examples, s."""
    return sum(len(example.frames) for example in examples) / config.frames_per_second


def _train_vocoder(job: VoiceJob, callbacks: VoiceCallbacks) -> Path:
    """Train the vocoder; return the folder of its checkpoint."""
    if job.vocoder is not None:
        return job.vocoder.folder
    recipe, folder = job.setup.recipe, job.folder / VOCODER_RUN
    data = vocoder_data(recipe.data, job.corpus, job.folder / CLIPS)
    setup = TrainingSetup(RecipeConfig(**{**dict(recipe), "data": data}), job.setup.initial)
    callbacks.report("training the vocoder")
    callbacks.train_vocoder(setup, folder, has_snapshot(folder))
    return folder / CHECKPOINT


def _adapt_vocoder(
    job: VoiceJob, model: AcousticModel, vocoder: Path, callbacks: VoiceCallbacks
) -> Path:
    """Train the vocoder on the frames of the acoustic model; return the folder of its checkpoint.

    Args:
        job: with the settings.
        model: predicts the frames.
        vocoder: the checkpoint with the first weights.
        callbacks: as of `train_voice`.
    """
    recordings, folder = job.folder / PREDICTED, job.folder / ADAPTED
    if not (recordings / TABLE).is_file():
        callbacks.report("predicting the frames of the clips")
        source, clips = _example_source(job), read_clips(job.folder / CLIPS)
        examples = ((c, read_example(source.path(c.example), c.clip)) for c in clips)
        with callbacks.open_progress("clips", len(clips)) as progress:
            write_predicted_recordings(recordings, model, source, examples, progress.advance)
    recipe, settings = job.setup.recipe, job.recipe.adaptation
    training = {**dict(recipe.train), **dict(settings)}
    training["warmup_steps"] = min(recipe.train.warmup_steps, settings.steps // 10)
    values = {
        **dict(recipe),
        "train": make_config(TrainConfig, "adaptation", **training),
        "data": predicted_data(recipe.data, recordings, job.folder / CLIPS),
    }
    setup = TrainingSetup(make_config(RecipeConfig, "adaptation", **values), load(vocoder))
    callbacks.report("training the vocoder on predicted frames")
    callbacks.train_vocoder(setup, folder, has_snapshot(folder))
    return folder / CHECKPOINT


def _write_voice(
    job: VoiceJob,
    model: AcousticModel,
    vocoder: Path,
    training: list[SpokenExample],
    held_out: list[SpokenExample],
) -> Path:
    """Write the voice, completely or not at all; return its folder."""
    final = job.folder / VOICE
    temporary = final.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    save_acoustic_model(temporary, model)
    copy_vocoder(temporary, vocoder)
    voice = load_voice(temporary)
    summary = VoiceTrainingSummary(
        len(training),
        count_seconds(model.config, training),
        len(held_out),
        job.recipe.acoustic_training.steps,
        measure_errors(voice.acoustic, held_out or training),
    )
    used: CheckpointConfig = voice.vocoder.config
    # an absolute path would publish how this machine is set up
    shown = final.name if final.is_absolute() else str(final)
    write_text(temporary / CARD, format_card(voice.acoustic, used, summary, shown))
    try:
        os.replace(temporary, final)
    except OSError as error:
        raise FolderError(f"{final} cannot be written: {os_error_reason(error)}") from None
    return final


@contextmanager
def _cpu_threads(threads: int | None) -> Iterator[None]:
    """Use a number of CPU threads inside the block; None: as before."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _count_workers(job: VoiceJob) -> int:
    return min(job.threads or available_cores(), MAX_WORKERS)
