"""The curves of a run, read from a `metrics.jsonl` that is still being written.

Input: the file, whose last line may be incomplete. Output: at most a few hundred points, for any
number of steps. Called by `run_status`.
"""

import json
from pathlib import Path
from threading import Lock
from typing import Any

from wavenet.training.progress_report import LOSS_WEIGHT, smooth_loss

Point = tuple[int, float]  # step, bits per sample

MAX_POINTS = 500  # of a curve; above that, every other point is removed


class MetricsHistory:
    """The curves read so far, and the position where the next read continues.

    Attributes:
        step: the newest.
        loss_curve: bits per sample on training clips, smoothed as on the command line.
        validation_curve: bits per sample on held-out clips.
        samples_per_second: of the last minute; None before the first step.
        threads: CPU threads of the newest step; None if unknown.
        note: the newest sentence about the number of threads; "" if there is none.
        step_samples: samples per step, smoothed.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = Lock()
        self._reset()

    def read(self) -> None:
        """Read new lines; read the whole file again if it has been replaced."""
        with self._lock:
            try:
                self._read()
            except OSError:
                self._reset()

    def _reset(self) -> None:
        self.step, self.step_samples = 0, 0.0
        self.samples_per_second: float | None = None
        self.threads: int | None = None
        self.note = ""
        self.loss_curve: list[Point] = []
        self.validation_curve: list[Point] = []
        self._smoothed_loss: float | None = None
        self._stride = 1  # steps between two points of the loss curve
        self._offset, self._last_line = 0, b""

    def _read(self) -> None:
        with self._path.open("rb") as file:
            # a resumed run deletes records of later steps, and writes others in their place
            file.seek(self._offset - len(self._last_line))
            if file.read(len(self._last_line)) != self._last_line:
                self._reset()
                file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written
                self._offset, self._last_line = self._offset + len(line), line
                self._add_record(line)

    def _add_record(self, line: bytes) -> None:
        try:
            record: dict[str, Any] = json.loads(line)
            step, loss = int(record["step"]), float(record["loss_bits"])
            samples, speed = float(record["samples"]), float(record["samples_per_second"])
            validation = record.get("bits_per_sample")
            bits = None if validation is None else float(validation)
            threads = record.get("threads")
            threads = None if threads is None else int(threads)
            note = str(record.get("note") or self.note)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return  # incomplete after a crash
        self._smoothed_loss = smooth_loss(self._smoothed_loss, loss)
        if self.step_samples:
            samples = self.step_samples + LOSS_WEIGHT * (samples - self.step_samples)
        self.step, self.step_samples, self.samples_per_second = step, samples, speed
        self.threads, self.note = threads, note
        if step % self._stride == 0:
            self.loss_curve.append((step, self._smoothed_loss))
        if len(self.loss_curve) > MAX_POINTS:
            self._stride *= 2
            self.loss_curve = [point for point in self.loss_curve if point[0] % self._stride == 0]
        if bits is not None:
            self.validation_curve.append((step, bits))
        if len(self.validation_curve) > MAX_POINTS:
            self.validation_curve = self.validation_curve[1::2]  # the newest stays
