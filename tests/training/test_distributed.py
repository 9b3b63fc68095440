"""Several processes, or several parts of a step, learn what one process learns at once."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavenet.errors import ConfigError, TrainingError
from wavenet.training import loop
from wavenet.training.batches import partition_clips, training_batches
from wavenet.training.distributed import SINGLE_RANK, Ranks, _agree_on_prefix, init_ranks
from wavenet.training.loop import train

from . import CPU, MODEL, RULES, make_clip, make_config, make_dataset, make_settings

ROOT = Path(__file__).parents[2]
# bits per sample: what the order of sums leaves in float32, and in bf16 on top
ROUNDING = {"fp32": 1e-5, "bf16": 2e-3}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def curve(folder, name="loss_bits"):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [record[name] for line in lines if name in (record := json.loads(line))]


def apart(one, other):
    """Give the largest difference of two curves of one length."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def alone(folder, resume=False, **settings):
    train(make_config(), make_settings(**settings), make_dataset(), folder, resume, device=CPU)
    return curve(folder)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Give the folder in which two processes have made the runs of `ranks_work`."""
    folder = tmp_path_factory.mktemp("two")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *command, "-m", "tests.training.distributed_runs", str(folder)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_processes_have_the_curve_of_one(two, tmp_path, precision):
    one = alone(tmp_path, precision=precision)
    assert apart(curve(two / precision), one) < ROUNDING[precision]
    assert apart(curve(two / "wrong"), one) > 10 * ROUNDING[precision]  # the control
    for name in ("samples", "learning_rate"):
        assert curve(two / precision, name) == curve(tmp_path, name)
    held = curve(two / precision, "bits_per_sample")
    assert apart(held, curve(tmp_path, "bits_per_sample")) < ROUNDING[precision]


def test_steps_in_parts_have_the_curve_of_whole_ones(two, tmp_path):
    one = alone(tmp_path / "one")
    for parts in (2, 100):
        assert apart(alone(tmp_path / str(parts), accumulate=parts), one) < ROUNDING["fp32"]
    assert apart(curve(two / "parts"), one) < ROUNDING["fp32"]


def test_a_process_for_which_no_clip_is_left_takes_part(two, tmp_path):
    assert apart(curve(two / "few"), alone(tmp_path, samples_per_step=1)) < ROUNDING["fp32"]


def test_all_processes_hold_the_same_weights_to_the_last_bit(two):
    first, second = (json.loads((two / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["digests"] == second["digests"]
    digests = first["digests"]
    assert digests["stopped"] == digests["fp32"]  # interrupted and resumed
    assert len({digests[name] for name in ("fp32", "bf16", "few", "afterwards", "wrong")}) == 5


def test_what_one_process_wishes_all_of_them_do(two):
    """And a run that two processes go on with is the one that they had not interrupted."""
    found = [json.loads((two / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [each["stopped"] for each in found] == [1, 1]
    assert curve(two / "stopped") == curve(two / "fp32")
    assert len(curve(two / "afterwards")) == 1


def test_another_number_of_processes_goes_on_with_a_run(two, tmp_path):
    ended = alone(two / "afterwards", resume=True)
    assert apart(ended, alone(tmp_path)) < ROUNDING["fp32"]


def test_a_process_that_took_leave_has_no_thread_of_gloo_left(two):
    """One that lets go of a tensor while the interpreter ends brings the process down."""
    found = json.loads((two / "1.json").read_text())
    if not found["during"]:
        pytest.skip("this system does not name the threads of a process")
    assert any("gloo" in name for name in found["during"])  # the control
    assert not any("gloo" in name for name in found["afterwards"])


def test_processes_with_different_recordings_are_told_so(two):
    for rank in (0, 1):
        words = json.loads((two / f"{rank}.json").read_text())["words"]
        assert words.startswith("the processes of this training have different recipes")


def test_parts_may_change_when_a_run_goes_on_and_nothing_else(tmp_path):
    run = {"config": make_config(), "dataset": make_dataset(), "folder": tmp_path, "device": CPU}
    train(settings=make_settings(), should_stop=lambda: True, **run)
    with pytest.raises(TrainingError, match="other settings of gain_db"):
        train(settings=make_settings(accumulate=2, gain_db=1.0), resume=True, **run)
    assert train(settings=make_settings(accumulate=2), resume=True, **run).step == 12


def test_a_step_in_parts_has_fewer_clips_at_a_time(tmp_path, monkeypatch):
    seen, nll = [], loop.fed_nll

    def watched(model, fed):
        if model.output.weight.requires_grad:
            seen.append(len(fed.codes))
        return nll(model, fed)

    monkeypatch.setattr(loop, "fed_nll", watched)
    alone(tmp_path / "1", samples_per_step=500)
    whole, seen[:] = list(seen), []
    alone(tmp_path / "3", samples_per_step=500, accumulate=3)
    assert sum(seen) == sum(whole) and len(seen) > 2 * len(whole)
    assert max(seen) <= -(-max(whole) // 3)


@RULES
@given(st.lists(st.integers(1, 1_000), max_size=40), st.integers(1, 9))
def test_clips_are_dealt_out_evenly_and_each_once(lengths, parts):
    dealt = partition_clips(lengths, parts)
    assert len(dealt) == parts
    assert sorted(index for part in dealt for index in part) == list(range(len(lengths)))
    sums = [sum(lengths[i] for i in part) for part in dealt]
    assert max(sums) - min(sums) <= max(lengths, default=0)
    assert partition_clips(lengths, 1) == [list(range(len(lengths)))]


class Unread:
    """A clip whose waveform counts how often it is read."""

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


def test_a_process_reads_the_waveforms_of_its_clips_alone():
    lengths = [60, 70, 75, 80, 90, 100, 110, 140]
    clips = [Unread(make_clip(n, seed)) for seed, n in enumerate(lengths)]

    def steps(*which, parts=1):
        made = training_batches(clips, 8, MODEL, 400, 6.0, 3, parts=parts, mine=which)
        return list(islice(made, 3))

    whole = steps(0)
    read = []
    for rank in range(2):
        for clip in clips:
            clip.reads = 0
        for step, expected in zip(steps(rank, parts=2), whole, strict=True):
            (all_rows,) = expected.parts
            assert step.targets == expected.targets == int(all_rows.mask.sum())
            for part in step.parts:
                for codes, mask in zip(part.codes, part.mask, strict=True):
                    same = [
                        torch.equal(codes[mask], row[known])
                        for row, known in zip(all_rows.codes, all_rows.mask, strict=True)
                    ]
                    assert sum(same) == 1  # gains and all
        read.append({n for n, clip in enumerate(clips) if clip.reads})
    assert read[0] and read[1] and read[0] != read[1]
    assert read[0] | read[1] == set(range(8))


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")  # as some clusters set for every job
    with init_ranks() as ranks:
        assert ranks is SINGLE_RANK
    assert SINGLE_RANK.total(1.5, 2) == [1.5, 2.0]
    assert SINGLE_RANK.any(True) and not SINGLE_RANK.any(False)
    assert SINGLE_RANK.is_first and SINGLE_RANK.tells() and not SINGLE_RANK.has_begun()


def test_every_process_of_a_machine_has_a_gpu_of_its_own_or_none_has(monkeypatch):
    ranks = Ranks(rank=5, count=8, local_rank=1, local_count=2)
    assert ranks.choose_device("cpu") == CPU
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert ranks.choose_device() == torch.device("cuda:1") == taken[0]
    with pytest.raises(ConfigError, match="cuda:0 is one GPU for 2 processes"):
        ranks.choose_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"2 processes and 1 GPUs .* --device cpu"):
        ranks.choose_device()


def test_the_cores_of_a_machine_are_divided(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(7)), raising=False)
    assert Ranks(count=3, local_count=3).choose_threads() == 2
    assert Ranks(count=9, local_count=9).choose_threads() == 1
    assert SINGLE_RANK.choose_threads() is None


def test_processes_that_are_started_anew_use_nothing_of_the_dead():
    """They met the addresses of the dead ones in torchrun's store, and could not connect."""
    store = torch.distributed.HashStore()
    store.set_timeout(timedelta(seconds=20))

    def agree(rank):
        time.sleep(0.3 if rank == 0 else 0)  # the others find what the dead ones left
        return _agree_on_prefix(store, rank, 3)

    with ThreadPoolExecutor(3) as pool:
        (first,), (second,) = (set(pool.map(agree, range(3))) for _ in range(2))
    assert first != second


def test_one_file_knows_that_there_are_others():
    paths = [p for p in (ROOT / "wavenet").rglob("*.py") if "torch.distributed" in p.read_text()]
    assert [p.name for p in paths] == ["ranks.py"]
