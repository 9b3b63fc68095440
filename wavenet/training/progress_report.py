"""Progress of a training for the user: a bar on a terminal, otherwise lines; TensorBoard.

Input: records of `loop.train`. Output: text on stderr, and TensorBoard files if it is installed.
Called by the command line.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from wavenet.terminal import print_above_bar
from wavenet.training.thread_choice import SPEED_SECONDS

TENSORBOARD_SCALARS = (
    *("loss_bits", "bits_per_sample", "gradient"),
    *("learning_rate", "samples_per_second"),
)
LOSS_WEIGHT = 0.05  # of the newest step in the smoothed loss


def smooth_loss(smoothed: float | None, newest: float) -> float:
    """Return the smoothed loss after one more step."""
    return newest if smoothed is None else smoothed + LOSS_WEIGHT * (newest - smoothed)


def estimate_seconds_left(steps: int, step_samples: float, samples_per_second: float) -> float:
    """Return the seconds that a number of steps needs at this speed."""
    return steps * step_samples / samples_per_second


@contextmanager
def show_progress(
    steps: int, folder: Path, quiet: bool = False
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield the function that `loop.train` calls with each record.

    Args:
        steps: of the whole training.
        folder: of the run, for TensorBoard's files.
        quiet: print nothing.
    """
    console = Console(stderr=True, quiet=quiet)
    with ExitStack() as stack:
        progress = stack.enter_context(_progress_bar(console))
        task = progress.add_task("", total=steps, loss=float("nan"), bits="-", speed=0.0)
        writer: Any = None
        loss: float | None = None

        def show(record: dict[str, Any]) -> None:
            nonlocal loss, writer
            if loss is None:
                # not earlier: only now the folder is locked by this process
                writer = _tensorboard_writer(folder, stack)
            loss = smooth_loss(loss, record["loss_bits"])
            progress.update(
                task, completed=record["step"], loss=loss, speed=record["samples_per_second"]
            )
            if "note" in record:
                print_above_bar(console, record["note"])
            if "bits_per_sample" in record:
                left = estimate_seconds_left(
                    steps - record["step"], record["samples"], record["samples_per_second"]
                )
                line = (
                    f"step {record['step']}: {record['bits_per_sample']:.4f} bits per sample on "
                    f"held-out clips, {loss:.4f} on training clips, "
                    f"{record['samples_per_second']:,.0f} samples/s, "
                    f"{timedelta(seconds=round(left))} left"
                )
                progress.update(task, bits=f"{record['bits_per_sample']:.3f}")
                print_above_bar(console, line)
            if writer is not None:
                for name in TENSORBOARD_SCALARS:
                    if name in record:
                        writer.add_scalar(name, record[name], record["step"])

        yield show


def _progress_bar(console: Console) -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  held out {task.fields[bits]}"),
        TextColumn("{task.fields[speed]:,.0f} samples/s"),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=SPEED_SECONDS,
        disable=not console.is_terminal,
    )


def _tensorboard_writer(folder: Path, stack: ExitStack) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))
    stack.callback(writer.close)
    return writer
