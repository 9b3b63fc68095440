"""`--device`, and what a device that is too small, or lost, does to the clips of a command."""

import json
from types import SimpleNamespace

import pytest
import torch
from tests.generation.test_many import Small

from tests.cli.conftest import refused
from wavenet import checkpoint as checkpoints
from wavenet.engines import registry

LABEL = ["--set", "digit=a"]


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    "device", [["--device", "cuda"], ["--engine", "gpu"], ["--engine", "graph"]]
)
@pytest.mark.parametrize("command", ["generate", "vocode", "score", "evaluate"])
def test_without_a_gpu_there_is_one_sentence(
    wavenet, tiny, tone, tmp_path, without_gpu, device, command
):
    arguments = {
        "generate": ["generate", *LABEL, "--out", tmp_path / "no.wav"],
        "vocode": ["vocode", tone, "--out", tmp_path / "no.wav"],
        "score": ["score", tone, *LABEL],
        "evaluate": ["evaluate", "vocoder", tone.parent],
    }[command]
    words = "needs a CUDA GPU, and none was found here", "leave the option out to use the CPU"
    refused(wavenet(*arguments, "--checkpoint", tiny, *device), *words)
    assert not (tmp_path / "no.wav").exists()


def test_training_says_so_before_a_recording_is_read(wavenet, tmp_path, without_gpu):
    refused(wavenet("train", "--data", tmp_path / "none", "--device", "cuda:0"), "cuda:0 needs a")
    refused(wavenet("train", "--data", tmp_path / "none", "--device", "gpu"), "is not known")


def test_the_studio_and_the_commands_load_where_the_rule_says(
    wavenet, tiny, tone, tmp_path, monkeypatch
):
    from wavenet.ui import jobs

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    asked = []

    def load(folder, device="cpu"):
        asked.append(str(device))
        raise checkpoints.CheckpointError("asked enough")

    monkeypatch.setattr(checkpoints, "load", load)
    monkeypatch.setattr(jobs, "load", load)
    common = ["--checkpoint", tiny, *LABEL]
    for options in ([], ["--device", "cuda:1"], ["--engine", "cpu"], ["--device", "cpu"]):
        wavenet("generate", *common, "--out", tmp_path / "a.wav", *options)
        wavenet("score", tone, *common, *options)
    wavenet("info", tiny, "--engines")
    with pytest.raises(checkpoints.CheckpointError):
        jobs.load_named(tiny.parent, tiny.name)
    here = SimpleNamespace(
        model=SimpleNamespace(embedding=SimpleNamespace(weight=torch.empty(0, device="meta"))),
        folder=tiny,
    )
    with pytest.raises(checkpoints.CheckpointError):
        jobs.on_device(here, torch.device("cpu"))
    expected = [device for device in ("cuda", "cuda:1", "cpu", "cpu") for _ in range(2)]
    assert asked == [*expected, "cuda", "cuda", "cpu"]
    assert jobs.on_device(here, torch.device("meta")) is here


@pytest.fixture
def device(monkeypatch):
    """Give a function that lets every command run on a device with limits."""

    def limit(**limits):
        def make(name, model, precision="fp32", threads=None):
            return Small(model, **limits)

        monkeypatch.setattr(registry, "make_engine", make)

    return limit


def clips(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_too_little_memory_is_said_and_changes_no_clip(wavenet, tiny, tmp_path, device):
    command = ["generate", "--checkpoint", tiny, *LABEL, "--count", 5]
    wavenet(*command, "--out", tmp_path / "whole")
    device(most=2)
    code, out, err = wavenet(*command, "--out", tmp_path / "halves")
    assert code == 0, err
    assert clips(tmp_path / "halves") == clips(tmp_path / "whole")
    assert len(out.splitlines()) == 5
    first, second, last = err.splitlines()
    assert first == "too little memory for 5 clips at once; going on with 3"
    assert second == "too little memory for 3 clips at once; going on with 2"
    assert "times real time" in last


def test_too_little_for_one_clip_is_one_sentence(wavenet, tiny, tmp_path, device):
    class OnlyWarm(Small):
        """One sample, by which an engine is prepared, still fits."""

        def run(self, state, n, sampling, noise):
            self.most = 1 if n == 1 else 0
            return super().run(state, n, sampling, noise)

    def make(name, model, precision="fp32", threads=None):
        return OnlyWarm(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "make_engine", make)
        result = wavenet("generate", "--checkpoint", tiny, *LABEL, "--out", tmp_path / "a.wav")
    refused(result, "there is too little memory (CUDA out of memory", code=1)
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize("as_json", [False, True])
def test_a_lost_device_keeps_what_was_finished(wavenet, tiny, tmp_path, device, as_json):
    command = ["generate", "--checkpoint", tiny, *LABEL, "--count", 5]
    wavenet(*command, "--out", tmp_path / "whole")
    # one run prepares the engine, two fail for memory, two clips are made, then it is lost
    device(most=2, lost_at=5)
    options = ["--json"] if as_json else []
    code, out, err = wavenet(*command, "--out", tmp_path / "parts", *options)
    assert code == 1
    *_, count, sentence = err.splitlines()
    assert count == "2 of 5 clips were made"
    assert sentence.startswith("wavenet: the GPU was lost (CUDA error: unspecified launch failure)")
    assert "what was finished before is kept" in sentence
    kept, whole = clips(tmp_path / "parts"), clips(tmp_path / "whole")
    assert len(kept) == 2 and kept.items() <= whole.items()
    named = [json.loads(line)["file"] if as_json else line for line in out.splitlines()]
    assert named == [str(tmp_path / "parts" / name) for name in kept]


def test_a_device_that_is_lost_at_once_leaves_nothing(wavenet, tiny, tmp_path, device):
    device(lost_at=2)
    result = wavenet("generate", "--checkpoint", tiny, *LABEL, "--out", tmp_path / "new" / "a.wav")
    refused(result, "the GPU was lost", code=1)
    assert not (tmp_path / "new").exists()
