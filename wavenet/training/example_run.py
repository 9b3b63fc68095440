"""The example run: 20 synthetic notes, on which the smallest recipe trains for a few seconds.

Output: the plan of a run, and its recordings. Called by the studio.
"""

from collections.abc import Collection
from itertools import count
from pathlib import Path

from audio_utils import io
from audio_utils.example_sound import make_note
from wavenet.training.run_process import RunPlan

NAME = "notes"
STEPS = 100
NOTES = {"c4": 261.6, "e4": 329.6, "g4": 392.0, "c5": 523.3}  # Hz
TAKES = 5
SECONDS = 0.5  # of a note
RATE = 8_000  # Hz
PATTERN = "{note}_{take}"


def example_plan(used: Collection[str]) -> RunPlan:
    """Return the plan of the run, with the first name that is not used."""
    names = (NAME if n == 1 else f"{NAME}-{n}" for n in count(1))
    return RunPlan(
        name=next(name for name in names if name not in used),
        pattern=PATTERN,
        labels=("note",),
        recipe="tiny",
        steps=STEPS,
        sample_seconds=SECONDS,
    )


def write_notes(folder: Path) -> None:
    """Write the notes into a folder, named by `PATTERN`."""
    for name, hertz in NOTES.items():
        for take in range(1, TAKES + 1):
            waveform = make_note(hertz, SECONDS, RATE, peak=0.3 + 0.1 * take)
            io.write(folder / f"{name}_{take}.wav", waveform, RATE)
