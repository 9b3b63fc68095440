"""Clips to be judged: which labels, how long, from which seeds; and their making.

Labels come in rounds: each round has every combination of labels that real recordings have, once,
in an order of its own. A clip is as long as a real recording of its labels, drawn at random: a
model that knows its position in the clip says a word in the time that it is given, so one length
for all would ask for words hurried or drawn out, and the judges' pictures would show it. Seeds
count up, so that `wavenet generate` makes any one of the clips again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavenet.checkpoint import Checkpoint
from wavenet.engines.base import Engine
from wavenet.evaluation.recordings import Labelled
from wavenet.generation.generate import generate_many
from wavenet.generation.request import GenerationRequest, clip_name
from wavenet.progress import CallbackProgress
from wavenet.sampling import SamplingConfig

TOGETHER = 64  # clips that are generated at once


@dataclass(frozen=True)
class MadeClips:
    """Clips of one setting.

    Attributes:
        clips: in the order of their seeds; the name of each tells labels and seed.
        drawn_again: how many of them the guard went back in.
    """

    clips: list[Labelled]
    drawn_again: int


def plan_clips(real: Sequence[Labelled], count: int, seed: int) -> list[GenerationRequest]:
    """Choose labels, lengths and seeds of `count` clips; the first are the same for every count.

    Args:
        real: recordings whose labels and lengths to take.
        seed: of the first clip.
    """
    lengths: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for one in real:
        lengths.setdefault(tuple(one.labels.items()), []).append(one.waveform.numel())
    combinations = sorted(lengths)
    items = []
    for n in range(count):
        turn, place = divmod(n, len(combinations))
        order = np.random.default_rng([seed, turn]).permutation(len(combinations))
        labels = combinations[order[place]]
        samples = np.random.default_rng([seed + n, 1]).choice(lengths[labels])
        items.append(GenerationRequest(int(samples), dict(labels), seed + n))
    return items


def make_planned(
    checkpoint: Checkpoint,
    items: Sequence[GenerationRequest],
    sampling: SamplingConfig,
    engine: str | Engine[Any] = "auto",
    report: Callable[[float], None] = lambda samples: None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> MadeClips:
    """Generate the clips planned, with the guard on, as `wavenet generate` does.

    Raises:
        ConditionError: the model does not know a label, or needs more than labels.
    """
    made = generate_many(
        checkpoint,
        items,
        sampling,
        engine,
        progress=CallbackProgress(report, warn),
        max_active=TOGETHER,
    )
    clips, drawn_again = {}, 0
    for clip in made:
        item = items[clip.index]
        labels = {name: str(value) for name, value in item.conditions.items()}
        name = clip_name(checkpoint.config.name, item.conditions, item.seed)
        clips[clip.index] = Labelled(name, labels, clip.waveform.cpu())
        drawn_again += bool(clip.retries)
    return MadeClips([clips[n] for n in range(len(items))], drawn_again)
