"""A generated clip after every validation of a training, which makes its progress audible.

Input: the folder and the records of a run. Output: the files `samples/step-N.wav`. All have the
same condition values and seed: they differ only by the weights. Called by `train_command`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavenet.cli.options import print_message

if TYPE_CHECKING:
    from wavenet.generation.request import GenerationRequest
    from wavenet.model.model_config import ModelConfig
    from wavenet.training.dataset import Dataset
    from wavenet.training.loop import RecordCallback
    from wavenet.training.recipe import TrainConfig
    from wavenet.training.segmentation import TrainingClip

SEED = 0


def with_preview_clips(
    on_record: "RecordCallback",
    folder: Path,
    settings: "TrainConfig",
    dataset: "Dataset",
    samples: int,
    device: str,
    should_stop: Callable[[], bool],
    max_seconds: float | None = None,
) -> "RecordCallback":
    """Return a record callback that also generates and writes a clip after every validation.

    If a clip fails, the error is printed and the training continues.

    Args:
        on_record: called with every record first.
        folder: folder of the run; its `checkpoint/` has the best weights so far.
        settings: training settings of the run.
        dataset: source of the clip that a model with local conditions resynthesises: a held-out
            clip, or a training clip if none is held out.
        samples: length of a clip, limited by the frames of the clip from the dataset.
        device: value of --device.
        should_stop: called during generation; a stop does not wait for the clip.
        max_seconds: generation is stopped after this time; set if other processes wait for it.
    """

    def on_record_with_clip(record: dict[str, Any]) -> None:
        on_record(record)
        step = record["step"]
        is_last = step == settings.steps
        if not (is_last or step % settings.validate_every == 0) or should_stop():
            return
        path = folder / "samples" / f"step-{step:06d}.wav"
        start = time.monotonic()

        def is_late() -> bool:
            return max_seconds is not None and time.monotonic() - start > max_seconds

        def should_end_clip() -> bool:
            return should_stop() or is_late()

        try:
            checkpoint = folder / "checkpoint"
            if write_generated_clip(checkpoint, path, dataset, samples, device, should_end_clip):
                print_message(f"step {step}: {path}")
            elif is_late():
                print_message(
                    f"step {step}: no clip within {max_seconds:g} s; the training continues"
                )
        except Exception as error:  # any error: the training must continue
            message = str(error).strip().split("\n")[0] or type(error).__name__
            print_message(f"step {step}: no clip could be generated: {message}")

    return on_record_with_clip


def write_generated_clip(
    checkpoint: Path,
    path: Path,
    dataset: "Dataset",
    samples: int,
    device: str,
    should_end_clip: Callable[[], bool],
) -> bool:
    """Generate and write one clip; return whether it was completed."""
    import torch

    from audio_utils import io
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.options import create_folder
    from wavenet.engines.registry import device_for
    from wavenet.generation.generate import generate

    loaded = checkpoints.load(checkpoint, device_for("auto", device))
    request = choose_request(loaded.config.model, dataset, samples)
    waveforms = []
    # Without a guard: an early model generates noise, which must be audible.
    for chunk in generate(loaded, [request], guard=None):
        if should_end_clip():
            return False
        waveforms.append(chunk.waveforms[0].cpu())
    create_folder(path.parent)
    io.write(path, torch.cat(waveforms), loaded.config.audio.sample_rate)
    return True


def choose_request(model: "ModelConfig", dataset: "Dataset", samples: int) -> "GenerationRequest":
    """Return a request with the first value of every label, and the frames that the model needs.

    The frames are those of a held-out clip, or of a training clip if none is held out.
    """
    from wavenet.generation.request import example_request

    request = replace(example_request(model), samples=samples, seed=SEED)
    if not model.locals:
        return request
    return resynthesis_request(request, dataset.validation or dataset.train, model.condition_hop)


def resynthesis_request(
    request: "GenerationRequest", clips: "Sequence[TrainingClip]", hop: int
) -> "GenerationRequest":
    """Return a request with the condition values and frames of the first clip.

    The frames begin with the first target. They continue over the next segments of the same
    recording, because a segment may be short.
    """
    import torch

    from wavenet.model.frame_features import frame_count

    clip = clips[0]
    first_frame = -(-(clip.start + clip.context) // hop)  # the first one after the context
    frames = clip.frame_features[first_frame - clip.first_frame :]
    end = clip.start + clip.samples
    for segment in clips[1:]:
        if segment.source != clip.source or segment.start + segment.context != end:
            break
        begin = first_frame + len(frames) - segment.first_frame
        frames = torch.cat([frames, segment.frame_features[begin:]])
        end = segment.start + segment.samples
    samples = max(1, min(request.samples, end - first_frame * hop))
    values = {name: clip.fields.get(name, value) for name, value in request.conditions.items()}
    frames = frames[: frame_count(samples, hop)]
    return replace(request, samples=samples, conditions=values, frame_features=frames)
