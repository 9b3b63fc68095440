"""A clip after every validation of a training run, to hear how it comes along.

A run's folder and its records enter; `samples/step-N.wav` leave, all from the same labels and seed,
so that they differ by what was learnt alone.
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
    from wavenet.training.data import Clip, Dataset
    from wavenet.training.loop import Report
    from wavenet.training.recipe import TrainConfig

SEED = 0


def listening(
    report: "Report",
    folder: Path,
    settings: "TrainConfig",
    dataset: "Dataset",
    samples: int,
    device: str,
    stopped: Callable[[], bool],
    most_seconds: float | None = None,
) -> "Report":
    """Give a function for the records of a run, which also makes a clip where it validated.

    A clip that fails is told in one line: hours of training must not end for it.

    Args:
        report: called with every record first.
        folder: of the run; what is heard is its `checkpoint/`, the best weights so far.
        settings: of the run.
        dataset: a model that takes frames says one of its held-out clips again.
        samples: length of a clip, if there are frames for so many.
        device: as on the command line.
        stopped: asked while a clip is made; a person who wants to stop does not wait for it.
        most_seconds: after which a clip is given up, where other processes wait meanwhile.
    """

    def report_and_listen(record: dict[str, Any]) -> None:
        report(record)
        step = record["step"]
        last = step == settings.steps
        if not (last or step % settings.validate_every == 0) or stopped():
            return
        path = folder / "samples" / f"step-{step:06d}.wav"
        began = time.monotonic()

        def is_late() -> bool:
            return most_seconds is not None and time.monotonic() - began > most_seconds

        def enough() -> bool:
            return stopped() or is_late()

        try:
            if make_clip(folder / "checkpoint", path, dataset, samples, device, enough):
                print_message(f"step {step}: {path}")
            elif is_late():
                print_message(f"step {step}: no clip in {most_seconds:g} s; the training goes on")
        except Exception as error:  # whatever it is, the training is worth more
            words = str(error).strip().split("\n")[0] or type(error).__name__
            print_message(f"step {step}: no clip could be made: {words}")

    return report_and_listen


def make_clip(
    checkpoint: Path,
    path: Path,
    dataset: "Dataset",
    samples: int,
    device: str,
    stopped: Callable[[], bool],
) -> bool:
    """Generate and write one clip; tell whether it was finished."""
    import torch

    from audio_utils import io
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.options import create_folder
    from wavenet.engines.registry import device_for
    from wavenet.generation.generate import generate

    loaded = checkpoints.load(checkpoint, device_for("auto", device))
    item = choose_item(loaded.config.model, dataset, samples)
    parts = []
    # unguarded: noise in place of a voice is just what there is to be heard
    for chunk in generate(loaded, [item], guard=None):
        if stopped():
            return False
        parts.append(chunk.waveforms[0].cpu())
    create_folder(path.parent)
    io.write(path, torch.cat(parts), loaded.config.audio.sample_rate)
    return True


def choose_item(model: "ModelConfig", dataset: "Dataset", samples: int) -> "GenerationRequest":
    """Take the first value of every label; with local conditions, all that a held-out clip has."""
    from wavenet.generation.request import example_request

    item = replace(example_request(model), samples=samples, seed=SEED)
    if not model.locals:
        return item
    return say_again(item, dataset.validation or dataset.train, model.condition_hop)


def say_again(item: "GenerationRequest", clips: "Sequence[Clip]", hop: int) -> "GenerationRequest":
    """Give an item the labels and frames of the first clip, and of those that follow on it.

    It begins with the first target; training cuts recordings into clips that may be short.
    """
    import torch

    from wavenet.model.frame_features import frame_count

    clip = clips[0]
    begin = -(-(clip.start + clip.context) // hop)  # the first frame of what is no context
    local, end = clip.local[begin - clip.first :], clip.start + clip.samples
    for more in clips[1:]:
        if more.source != clip.source or more.start + more.context != end:
            break
        local = torch.cat([local, more.local[begin + len(local) - more.first :]])
        end = more.start + more.samples
    samples = max(1, min(item.samples, end - begin * hop))
    labels = {name: clip.labels.get(name, given) for name, given in item.conditions.items()}
    return replace(
        item, samples=samples, conditions=labels, frame_features=local[: frame_count(samples, hop)]
    )
