"""One short sample of each model, generated at the first request and kept for a while.

Input: a checkpoint. Output: the path of a WAV file in the private folder of the studio, which
deletes it some time later. The seed is fixed, so the sample is always the same. Called by the
Models tab.
"""

import hashlib
from pathlib import Path

from gradio.utils import get_upload_folder

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

SAMPLE_SEED = 0
SAMPLE_SECONDS = 2.0  # at most
FOLDER = "samples"  # in the folder of uploads and results


def sample_path(folder: Path) -> Path:
    """Return the path that the sample of a checkpoint has once it is generated."""
    changed = (folder / CONFIG).stat().st_mtime_ns
    key = hashlib.sha256(f"{folder.absolute()} {changed}".encode()).hexdigest()[:24]
    return Path(get_upload_folder()) / FOLDER / key / "sample.wav"


def make_sample(checkpoint: Checkpoint, start: Start) -> Path:
    """Generate the sample of a checkpoint with the first values of its conditions.

    A model that resynthesises recordings gets a synthetic one.

    Args:
        checkpoint: of the model.
        start: generates the clips of a job.
    Raises:
        WaveNetError: the model cannot generate.
    """
    path, source = sample_path(named_folder(checkpoint.folder)), None
    rate = checkpoint.config.audio.sample_rate
    path.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint.config.model.locals:
        source = path.with_name("source.wav")
        io.write(source, make_example_sound(rate)[: round(SAMPLE_SECONDS * rate)], rate)
    settings = GenerateSettings(
        seconds=min(default_seconds(checkpoint), SAMPLE_SECONDS),
        seed=SAMPLE_SEED,
        conditions=first_values(checkpoint.config),
    )
    job = make_generation_job(checkpoint, settings, source=str(source) if source else None)
    result = GenerationResult(job, start).complete()
    with atomic_file(path) as temporary:
        io.write(temporary, result.waveform(), rate)
    return path
