"""Several processes, or several micro-batches, train as one process with whole batches."""

import json
import operator
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch

from wavenet import devices
from wavenet.errors import ConfigError, TrainingError
from wavenet.training import task
from wavenet.training.batches import training_batches
from wavenet.training.distributed import SINGLE_RANK, Ranks, _agree_on_prefix, init_ranks

from . import CODEC, CPU, MODEL, make_clip, make_config, make_dataset, make_settings, train

ROOT = Path(__file__).parents[2]
# bits per sample: differences by the order of sums in float32, and by bf16
ROUNDING = {"fp32": 1e-5, "bf16": 2e-3}


def curve(folder, name="loss_bits"):
    """Return one number of every record of a run that has it."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [record[name] for line in lines if name in (record := json.loads(line))]


def largest_difference(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def train_alone(folder, resume=False, **settings):
    """Train in this process; return the loss curve."""
    train(make_config(), make_settings(**settings), make_dataset(), folder, resume)
    return curve(folder)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Return the folder with the runs that two processes made in `distributed_runs`."""
    folder = tmp_path_factory.mktemp("two")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *command, "-m", "tests.training.distributed_runs", str(folder)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def results(two):
    """Return what each of the two processes wrote."""
    return [json.loads((two / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_processes_have_the_curve_of_one(two, tmp_path, precision):
    one = train_alone(tmp_path, precision=precision)
    assert largest_difference(curve(two / precision), one) < ROUNDING[precision]
    assert (
        largest_difference(curve(two / "wrong"), one) > 10 * ROUNDING[precision]
    )  # negative control
    for name in ("samples", "learning_rate"):
        assert curve(two / precision, name) == curve(tmp_path, name)
    bits = [curve(folder, "bits_per_sample") for folder in (two / precision, tmp_path)]
    assert largest_difference(*bits) < ROUNDING[precision]


def test_accumulated_steps_have_the_curve_of_whole_ones(two, tmp_path):
    one = train_alone(tmp_path / "one")
    for steps in (2, 100):
        accumulated = train_alone(tmp_path / str(steps), accumulation_steps=steps)
        assert largest_difference(accumulated, one) < ROUNDING["fp32"]
    assert largest_difference(curve(two / "accumulated"), one) < ROUNDING["fp32"]


def test_a_process_without_a_clip_takes_part(two, tmp_path):
    one = train_alone(tmp_path, samples_per_step=1)
    assert largest_difference(curve(two / "single"), one) < ROUNDING["fp32"]


def test_all_processes_have_the_same_weights_bit_for_bit(results):
    first, second = results
    assert first["digests"] == second["digests"]
    digests = first["digests"]
    assert digests["stopped"] == digests["fp32"]  # interrupted and resumed
    names = ("fp32", "bf16", "single", "continued", "wrong")
    assert len({digests[name] for name in names}) == 5


def test_a_request_to_stop_in_one_process_stops_all(two, results):
    """A run that two processes resume also equals the run that they did not interrupt."""
    assert [result["stopped"] for result in results] == [1, 1]
    assert curve(two / "stopped") == curve(two / "fp32")
    assert len(curve(two / "continued")) == 1


def test_another_number_of_processes_can_resume_a_run(two, tmp_path):
    resumed = train_alone(two / "continued", resume=True)
    assert largest_difference(resumed, train_alone(tmp_path)) < ROUNDING["fp32"]


def test_no_thread_of_gloo_is_left_at_the_end(results):
    """A thread that frees a tensor while the interpreter ends crashes the process."""
    during, after = results[1]["threads_during"], results[1]["threads_after"]
    if not during:
        pytest.skip("this system does not report the names of threads")
    assert any("gloo" in name for name in during)  # negative control
    assert not any("gloo" in name for name in after)


def test_processes_with_different_recordings_are_refused(results):
    assert all("different recipes, options or recordings" in r["message"] for r in results)


def test_only_the_accumulation_steps_may_change_when_a_run_is_resumed(tmp_path):
    run = {"config": make_config(), "dataset": make_dataset(), "folder": tmp_path}
    train(settings=make_settings(), should_stop=lambda: True, **run)
    with pytest.raises(TrainingError, match="gain_db"):
        train(settings=make_settings(accumulation_steps=2, gain_db=1.0), resume=True, **run)
    assert train(settings=make_settings(accumulation_steps=2), resume=True, **run).step == 12


def test_an_accumulated_step_has_fewer_clips_at_a_time(tmp_path, monkeypatch):
    clips, mean_nll = [], task.mean_nll

    def watched_nll(model, batch, truncation=None):
        if model.output.weight.requires_grad:
            clips.append(len(batch.codes))
        return mean_nll(model, batch)

    monkeypatch.setattr(task, "mean_nll", watched_nll)
    train_alone(tmp_path / "1", samples_per_step=500)
    whole, clips[:] = list(clips), []
    train_alone(tmp_path / "3", samples_per_step=500, accumulation_steps=3)
    assert sum(clips) == sum(whole) and len(clips) > 2 * len(whole)
    assert max(clips) <= -(-max(whole) // 3)


class CountingClip:
    """A clip that counts how often its waveform is read."""

    def __init__(self, clip):
        self._clip, self.reads = clip, 0

    def __getattr__(self, name):
        return getattr(self._clip, name)

    @property
    def waveform(self):
        self.reads += 1
        return self._clip.waveform

    @property
    def samples(self):
        return self._clip.samples


def test_a_process_reads_only_the_waveforms_of_its_clips():
    lengths = [60, 70, 75, 80, 90, 100, 110, 140]
    clips = [CountingClip(make_clip(n, seed)) for seed, n in enumerate(lengths)]

    def steps(*own_parts, parts=1):
        made = training_batches(clips, CODEC, MODEL, 400, 6.0, 3, parts=parts, own_parts=own_parts)
        return list(islice(made, 3))

    whole = steps(0)
    read = []
    for rank in range(2):
        for clip in clips:
            clip.reads = 0
        for step, expected in zip(steps(rank, parts=2), whole, strict=True):
            (all_rows,) = expected.batches
            assert step.step_targets == expected.step_targets == int(all_rows.mask.sum())
            for batch in step.batches:
                for codes, mask in zip(batch.codes, batch.mask, strict=True):
                    same = [
                        torch.equal(codes[mask], row[row_mask])
                        for row, row_mask in zip(all_rows.codes, all_rows.mask, strict=True)
                    ]
                    assert sum(same) == 1  # with the same gain, too
        read.append({n for n, clip in enumerate(clips) if clip.reads})
    assert read[0] and read[1] and read[0] != read[1]
    assert read[0] | read[1] == set(range(8))


def test_without_torchrun_there_is_a_single_rank(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")  # which some clusters set for every job
    with init_ranks() as ranks:
        assert ranks is SINGLE_RANK
    assert SINGLE_RANK.sum_numbers(1.5, 2) == [1.5, 2.0]
    assert SINGLE_RANK.any(True) and not SINGLE_RANK.any(False)
    assert SINGLE_RANK.is_main and SINGLE_RANK.claim_first_error()
    assert not SINGLE_RANK.is_run_started()


def test_every_process_of_a_machine_has_its_own_gpu_or_none_has_one(monkeypatch):
    ranks = Ranks(rank=5, world_size=8, local_rank=1, local_world_size=2)
    assert ranks.choose_device("cpu") == CPU
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert ranks.choose_device() == torch.device("cuda:1") == current[0]
    with pytest.raises(ConfigError, match="cuda:0 is one GPU for 2 processes"):
        ranks.choose_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"2 processes and 1 GPUs .* --device cpu"):
        ranks.choose_device()


def test_the_cores_of_a_machine_are_divided(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(7)), raising=False)
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(devices, "CPU_QUOTA", quota)
    assert Ranks(world_size=3, local_world_size=3).choose_threads() == 2
    assert Ranks(world_size=9, local_world_size=9).choose_threads() == 1
    assert SINGLE_RANK.choose_threads() is None
    quota.write_text("400000 100000")  # a container with four cores
    assert Ranks(world_size=2, local_world_size=2).choose_threads() == 2


def test_restarted_processes_use_nothing_of_the_ended_ones():
    """Regression: they found the addresses of ended processes in torchrun's store.

    The restarted processes could not connect to these addresses.
    """
    store = torch.distributed.HashStore()
    store.set_timeout(timedelta(seconds=20))

    def replies(prefix):
        return [store.get(f"wavenet/{prefix}/{rank}") for rank in (1, 2)]

    def agree(rank, old_prefix=None, old_replies=()):
        if rank == 0 and old_prefix:
            deadline = time.monotonic() + 20
            while any(map(operator.eq, replies(old_prefix), old_replies)):
                assert time.monotonic() < deadline, "the others never met the old prefix"
                time.sleep(0.01)
        return _agree_on_prefix(store, rank, 3)

    with ThreadPoolExecutor(3) as pool:
        (first,) = set(pool.map(agree, range(3)))
        (second,) = set(
            pool.map(partial(agree, old_prefix=first, old_replies=replies(first)), range(3))
        )
    assert first != second


def test_one_file_uses_torch_distributed():
    paths = [p for p in (ROOT / "wavenet").rglob("*.py") if "torch.distributed" in p.read_text()]
    assert [p.name for p in paths] == ["distributed.py"]
