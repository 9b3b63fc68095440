"""The option --device, and commands on a device that is full or lost."""

import json
from types import SimpleNamespace

import pytest
import torch

from tests.cli.conftest import assert_refused
from tests.generation import LimitedEngine
from wavenet import checkpoint as checkpoints
from wavenet.generation import checkpoint_engine

LABEL = ["--set", "digit=a"]


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    "option", [["--device", "cuda"], ["--engine", "gpu"], ["--engine", "graph"]]
)
@pytest.mark.parametrize("command", ["generate", "vocode", "score", "evaluate"])
def test_a_missing_gpu_is_refused(run_command, tiny, tone, tmp_path, without_gpu, option, command):
    arguments = {
        "generate": ["generate", *LABEL, "--out", tmp_path / "no.wav"],
        "vocode": ["vocode", tone, "--out", tmp_path / "no.wav"],
        "score": ["score", tone, *LABEL],
        "evaluate": ["evaluate", "vocoder", tone.parent],
    }[command]
    result = run_command(*arguments, "--checkpoint", tiny, *option)
    assert_refused(result, "needs a CUDA GPU", "omit the option")
    assert not (tmp_path / "no.wav").exists()


def test_training_refuses_a_missing_gpu_before_it_reads_recordings(
    run_command, tmp_path, without_gpu
):
    assert_refused(
        run_command("train", "--data", tmp_path / "none", "--device", "cuda:0"), "cuda:0 needs a"
    )
    assert_refused(
        run_command("train", "--data", tmp_path / "none", "--device", "gpu"), "unknown device"
    )


def test_studio_and_commands_load_models_on_the_chosen_device(
    run_command, tiny, tone, tmp_path, monkeypatch
):
    from wavenet.ui import checkpoint_library

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices = []

    def load(folder, device="cpu"):
        devices.append(str(device))
        raise checkpoints.CheckpointError("stop here")

    monkeypatch.setattr(checkpoints, "load", load)
    monkeypatch.setattr(checkpoint_library, "load", load)
    common = ["--checkpoint", tiny, *LABEL]
    for options in ([], ["--device", "cuda:1"], ["--engine", "cpu"], ["--device", "cpu"]):
        run_command("generate", *common, "--out", tmp_path / "a.wav", *options)
        run_command("score", tone, *common, *options)
    run_command("info", tiny, "--engines")
    with pytest.raises(checkpoints.CheckpointError):
        checkpoint_library.load_checkpoint(tiny.parent, tiny.name)
    loaded = SimpleNamespace(model=SimpleNamespace(device=torch.device("meta")), folder=tiny)
    with pytest.raises(checkpoints.CheckpointError):
        checkpoint_library.move_to_device(loaded, torch.device("cpu"))
    expected = [device for device in ("cuda", "cuda:1", "cpu", "cpu") for _ in range(2)]
    assert devices == [*expected, "cuda", "cuda", "cpu"]
    assert checkpoint_library.move_to_device(loaded, torch.device("meta")) is loaded


@pytest.fixture
def limit_engine(monkeypatch):
    """Return a function that replaces the engine of every command by one with limits."""

    def limit(**limits):
        def make(name, model, precision="fp32", threads=None):
            return LimitedEngine(model, **limits)

        monkeypatch.setattr(checkpoint_engine, "make_engine", make)

    return limit


def clips(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_failed(result, reason):
    """Assert that a command printed its choice, then only one error message, and no data."""
    code, out, err = result
    choice, message = err.splitlines()
    assert (code, out) == (1, "")
    assert choice.startswith("tiny, ")
    assert message.startswith(f"wavenet: {reason}")


def test_too_little_memory_is_reported_and_changes_no_clip(
    run_command, tiny, tmp_path, limit_engine
):
    command = ["generate", "--checkpoint", tiny, *LABEL, "--count", 5]
    run_command(*command, "--out", tmp_path / "whole")
    limit_engine(max_rows=2)
    code, out, err = run_command(*command, "--out", tmp_path / "halves")
    assert code == 0, err
    assert clips(tmp_path / "halves") == clips(tmp_path / "whole")
    assert len(out.splitlines()) == 5
    _, first, second, last = err.splitlines()
    for message, before, after in ((first, 5, 3), (second, 3, 2)):
        assert message.startswith(f"too little memory for {before} simultaneous clips")
        assert message.endswith(f"with {after}")
    assert "times real time" in last


def test_too_little_memory_for_one_clip_is_an_error(run_command, tiny, tmp_path, limit_engine):
    class WarmUpEngine(LimitedEngine):
        """The single sample of the warm-up still fits into memory."""

        def run(self, state, n, sampling, noise):
            self.max_rows = 1 if n == 1 else 0
            return super().run(state, n, sampling, noise)

    def make(name, model, precision="fp32", threads=None):
        return WarmUpEngine(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_engine, "make_engine", make)
        result = run_command("generate", "--checkpoint", tiny, *LABEL, "--out", tmp_path / "a.wav")
    assert_failed(result, "there is too little memory (CUDA out of memory")
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize("as_json", [False, True])
def test_clips_finished_before_a_device_is_lost_are_kept(
    run_command, tiny, tmp_path, limit_engine, as_json
):
    command = ["generate", "--checkpoint", tiny, *LABEL, "--count", 5]
    run_command(*command, "--out", tmp_path / "whole")
    # Runs 1 to 5: the warm-up, two that need too much memory, one that completes two clips, one in
    # which the device is lost.
    limit_engine(max_rows=2, lost_at=5)
    options = ["--json"] if as_json else []
    code, out, err = run_command(*command, "--out", tmp_path / "parts", *options)
    assert code == 1
    *_, count, message = err.splitlines()
    assert count.startswith("2 of 5 clips")
    assert message.startswith("wavenet: the GPU was lost (CUDA error: unspecified launch failure)")
    kept, whole = clips(tmp_path / "parts"), clips(tmp_path / "whole")
    assert len(kept) == 2 and kept.items() <= whole.items()
    printed = [json.loads(line)["file"] if as_json else line for line in out.splitlines()]
    assert printed == [str(tmp_path / "parts" / name) for name in kept]


def test_a_device_lost_at_once_leaves_no_files(run_command, tiny, tmp_path, limit_engine):
    limit_engine(lost_at=2)
    result = run_command(
        "generate", "--checkpoint", tiny, *LABEL, "--out", tmp_path / "new" / "a.wav"
    )
    assert_failed(result, "the GPU was lost")
    assert not (tmp_path / "new").exists()
