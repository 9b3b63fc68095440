"""The curves of a run: read from a growing file, thinned, and read again if it was replaced."""

import json

from wavenet.training import metrics_history
from wavenet.training.metrics_history import MetricsHistory


def line(step, **more):
    record = {"loss_bits": 8 / step, "samples": 100, "samples_per_second": 50.0}
    return json.dumps({"step": step, **record, **more}) + "\n"


def test_curves_are_thinned_and_reading_continues_where_it_ended(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    history = MetricsHistory(path)
    history.read()
    assert (history.step, history.loss_curve) == (0, [])
    incomplete = line(5001, bits_per_sample=3.75)
    path.write_text("".join(map(line, range(1, 5001))) + incomplete[:20])
    history.read()
    assert history.step == 5000
    assert 200 < len(history.loss_curve) <= metrics_history.MAX_POINTS
    with path.open("a") as file:
        file.write(incomplete[20:] + line(5002, bits_per_sample=3.5) + "no JSON\n")
    parsed, loads = [], json.loads
    monkeypatch.setattr(
        metrics_history.json, "loads", lambda text: (parsed.append(text), loads(text))[1]
    )
    history.read()
    assert len(parsed) == 3, "lines that were read are read again"
    assert history.step == 5002
    assert history.validation_curve == [(5001, 3.75), (5002, 3.5)]


def test_threads_and_the_newest_note_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1) + line(2, threads=2, note="first") + line(3, threads=1))
    history = MetricsHistory(path)
    history.read()
    assert (history.threads, history.note) == (1, "first")
    path.write_text(line(1))
    history.read()
    assert (history.threads, history.note) == (None, "")


def test_curves_restart_if_a_resumed_run_wrote_other_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line(n) for n in range(1, 9)))
    history = MetricsHistory(path)
    history.read()
    path.write_text("".join(line(n, loss=n) for n in range(1, 30)))
    history.read()
    assert [step for step, _ in history.loss_curve] == list(range(1, 30))
    path.write_text("".join(line(n) for n in range(1, 4)))
    history.read()
    assert history.step == 3
