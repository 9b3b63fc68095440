"""One short sample of each model, generated at the first request and kept for a while.

Input: a checkpoint. Output: the path of a WAV file in the private folder of the studio, which
deletes it some time later. The seed is fixed, so the sample is always the same. Called by the
Models tab.
"""

import hashlib
from pathlib import Path

from gradio.utils import get_upload_folder
from torch import Tensor

from audio_utils import io
from audio_utils.atomic_files import atomic_file
from audio_utils.example_sound import make_example_sound
from wavenet.checkpoint import CONFIG, Checkpoint
from wavenet.checkpoint_folders import named_folder
from wavenet.ui.generate.generate_events import Start
from wavenet.ui.generate.generation_job import (
    GenerateSettings,
    GenerationResult,
    default_seconds,
    make_generation_job,
)
from wavenet.ui.model_bar.condition_form import first_values
from wavenet.ui.speak.speech_job import SpeechResult, SpeechSettings, make_speech_job

SAMPLE_SEED = 0
SAMPLE_TEXT = "Hello, this is my voice."
SAMPLE_SECONDS = 2.0  # at most
FOLDER = "samples"  # in the folder of uploads and results


def sample_path(folder: Path) -> Path:
    """Return the path that the sample of a checkpoint has once it is generated."""
    changed = (folder / CONFIG).stat().st_mtime_ns
    key = hashlib.sha256(f"{folder.absolute()} {changed}".encode()).hexdigest()[:24]
    return Path(get_upload_folder()) / FOLDER / key / "sample.wav"


def make_sample(checkpoint: Checkpoint, start: Start) -> Path:
    """Generate the sample of a checkpoint with the first values of its conditions.

    A voice speaks a sentence. Any other model that resynthesises recordings gets a synthetic one.

    Args:
        checkpoint: of the model; of a voice, its vocoder.
        start: generates the clips of a job.
    Raises:
        WaveNetError: the model cannot generate.
    """
    folder = named_folder(checkpoint.folder)
    path, rate = sample_path(folder), checkpoint.config.audio.sample_rate
    path.parent.mkdir(parents=True, exist_ok=True)
    is_part = folder != checkpoint.folder
    waveform = _speak(folder) if is_part else _generate(checkpoint, start, path.parent)
    with atomic_file(path) as temporary:
        io.write(temporary, waveform, rate)
    return path


def _speak(folder: Path) -> Tensor:
    """Return a sentence spoken by the voice in a folder, (n,)."""
    settings = SpeechSettings(text=SAMPLE_TEXT, seed=SAMPLE_SEED)
    job = make_speech_job(folder.parent, folder.name, settings)
    return SpeechResult(job).complete().waveform


def _generate(checkpoint: Checkpoint, start: Start, folder: Path) -> Tensor:
    """Return a clip of a model, (n,); a recording that it needs is written into `folder`."""
    source, rate = None, checkpoint.config.audio.sample_rate
    if checkpoint.config.model.locals:
        source = folder / "source.wav"
        io.write(source, make_example_sound(rate)[: round(SAMPLE_SECONDS * rate)], rate)
    settings = GenerateSettings(
        seconds=min(default_seconds(checkpoint), SAMPLE_SECONDS),
        seed=SAMPLE_SEED,
        conditions=first_values(checkpoint.config),
    )
    job = make_generation_job(checkpoint, settings, source=str(source) if source else None)
    return GenerationResult(job, start).complete().waveform()
