"""The curves of a run, read from a `metrics.jsonl` that still grows.

The file enters, its last line perhaps half written; a few hundred points leave, however many steps
it has. Called by `status`.
"""

import json
from pathlib import Path
from threading import Lock
from typing import Any

from wavenet.training.progress_report import LOSS_WEIGHT

Point = tuple[int, float]  # step, bits per sample

MOST_POINTS = 500  # of a curve; beyond that every other one goes


class MetricsHistory:
    """Curves, and where the last reading ended: the next one reads on from there.

    Attributes:
        step: the newest.
        loss: bits per sample on training clips, smoothed as the command line shows them.
        bits: bits per sample on held-out clips.
        speed: samples a second; None before the first step.
        samples: of a step, about.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = Lock()
        self._reset()

    def read(self) -> None:
        """Take in what is new; everything again where the file is another one by now."""
        with self._lock:
            try:
                self._read()
            except OSError:
                self._reset()

    def _reset(self) -> None:
        self.step, self.samples = 0, 0.0
        self.speed: float | None = None
        self.loss: list[Point] = []
        self.bits: list[Point] = []
        self._smooth: float | None = None
        self._every = 1  # steps from one point of the loss to the next
        self._offset, self._last = 0, b""  # what was read, and its last line

    def _read(self) -> None:
        with self._path.open("rb") as file:
            # a resumed run drops what it is yet to make, and writes other lines there
            file.seek(self._offset - len(self._last))
            if file.read(len(self._last)) != self._last:
                self._reset()
                file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written
                self._offset, self._last = self._offset + len(line), line
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            record: dict[str, Any] = json.loads(line)
            step, loss = int(record["step"]), float(record["loss_bits"])
            samples, speed = float(record["samples"]), float(record["samples_per_second"])
            held = record.get("bits_per_sample")
            bits = None if held is None else float(held)
        except (ValueError, KeyError, TypeError):
            return  # torn by a crash
        before = self._smooth
        self._smooth = loss if before is None else before + LOSS_WEIGHT * (loss - before)
        self.samples += LOSS_WEIGHT * (samples - self.samples) if self.samples else samples
        self.step, self.speed = step, speed
        if step % self._every == 0:
            self.loss.append((step, self._smooth))
        if len(self.loss) > MOST_POINTS:
            self._every *= 2
            self.loss = [point for point in self.loss if point[0] % self._every == 0]
        if bits is not None:
            self.bits.append((step, bits))
        if len(self.bits) > MOST_POINTS:
            self.bits = self.bits[1::2]  # the newest stays
