"""Checkpoints: a saved model is loaded unchanged, older configs load, errors are one sentence."""

import json
import os
import pickle
import re
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_bytes

from wavenet import checkpoint
from wavenet.checkpoint import CONFIG, AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.config import parse_config
from wavenet.errors import CheckpointError, ConfigError
from wavenet.model.conditions import (
    F0Condition,
    LabelCondition,
    MelCondition,
    MfccCondition,
    NumberCondition,
    PositionCondition,
)
from wavenet.model.wavenet import WaveNetConfig
from wavenet.sampling import SamplingConfig
from wavenet.weights_file import WEIGHTS

TINY = {
    "format_version": 1,
    "name": "tiny",
    "audio": {"sample_rate": 8000},
    "codec": {"bits": 6, "silence_code": 32},
    "model": {
        "residual_channels": 4,
        "gate_channels": 3,
        "skip_channels": 5,
        "dilations": [1, 2, 4],
        "conditions": [
            {"kind": "label", "name": "digit", "values": ["0", "1"], "channels": 2},
            {"kind": "position", "harmonics": 1},
        ],
        "condition_channels": 4,
    },
}
OLD_CONFIGS = Path(__file__).parent / "golden" / "config_format_1"


def make(**model):
    """Build a model with seeded weights, and its config."""
    values = {**TINY, "model": {**TINY["model"], **model}}
    config = parse_config(CheckpointConfig, json.dumps(values), "tiny")
    torch.manual_seed(0)
    return config, checkpoint.build(config)


@pytest.fixture
def folder(tmp_path):
    """Save a tiny model and return its folder."""
    checkpoint.save(tmp_path / "tiny", *make())
    return tmp_path / "tiny"


def refusal(folder):
    """Load a folder that must be refused, and return the sentence without the path."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder)
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert str(folder) in sentence
    return sentence.replace(str(folder), "")


def forward(model):
    codes = torch.randint(64, (2, 50), generator=torch.Generator().manual_seed(1))
    return model(codes, model.conditioning([{"digit": "0"}, {"digit": "1"}], [50, 60]))


def test_the_statistics_of_frames_are_stored_and_optional(tmp_path):
    curve = {"kind": "frames", "name": "curve", "columns": 2}
    config, model = make(conditions=[curve], condition_hop=4)
    checkpoint.save(tmp_path / "plain", config, model)
    assert "frame_statistics" not in (tmp_path / "plain" / CONFIG).read_text()
    found = {"name": "curve", "mean": [0, 1], "std": [1, 0], "low": [-1, 1], "high": [1.5, 1]}
    values = json.loads((tmp_path / "plain" / CONFIG).read_text())
    config = parse_config(
        CheckpointConfig, json.dumps(values | {"frame_statistics": [found]}), "tiny"
    )
    checkpoint.save(tmp_path / "measured", config, model)
    loaded = checkpoint.load(tmp_path / "measured").config
    assert loaded == config
    assert loaded.frame_statistics[0].high == (1.5, 1.0)
    for change in ({"name": "other"}, {"mean": [0.0]}, {"std": [-1, 0]}, {"low": [-1, 1, 2]}):
        text = json.dumps(values | {"frame_statistics": [found | change]})
        with pytest.raises(ConfigError):
            parse_config(CheckpointConfig, text, "tiny")


def test_a_loaded_model_has_the_forward_pass_of_the_saved_one(tmp_path):
    config, model = make()
    checkpoint.save(tmp_path / "new" / "folder", config, model)
    loaded = checkpoint.load(str(tmp_path / "new" / "folder"))
    assert loaded.config == config
    assert loaded.folder == tmp_path / "new" / "folder"
    assert (loaded.codec, loaded.sample_rate) == (MuLawCodec(bits=6), 8000)
    assert torch.equal(forward(loaded.model), forward(model))
    other = make()[1]
    with torch.no_grad():
        other.output.bias[3] += 1e-3
    assert not torch.equal(forward(loaded.model), forward(other))


def test_a_loaded_model_neither_trains_nor_keeps_gradients(folder):
    model = checkpoint.load(folder).model
    assert not any(module.training for module in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    assert not forward(model).requires_grad


def test_saving_replaces_the_old_files_and_leaves_no_others(folder):
    config, model = make()
    with torch.no_grad():
        model.output.bias.fill_(2)
    checkpoint.save(folder, config, model)
    assert (checkpoint.load(folder).model.output.bias == 2).all()
    assert {path.name for path in folder.iterdir()} == {CONFIG, WEIGHTS}


def test_the_config_can_be_read_without_weights(folder):
    (folder / WEIGHTS).unlink()
    assert checkpoint.load_config(folder) == make()[0]


# the meaning of the files in OLD_CONFIGS
EXPECTED = {
    "digits": CheckpointConfig(
        name="digits",
        audio=AudioConfig(sample_rate=8000),
        codec=MuLawCodec(),
        model=WaveNetConfig(
            residual_channels=48,
            gate_channels=48,
            skip_channels=128,
            dilations=tuple(2**n for n in range(9)) * 3,
            conditions=(
                LabelCondition(name="digit", values=tuple("0123456789"), dropout=0.1),
                LabelCondition(
                    name="speaker",
                    values=("george", "jackson", "lucas", "nicolas", "theo", "yweweler"),
                    dropout=0.1,
                ),
                PositionCondition(),
            ),
            condition_channels=128,
        ),
        default_seconds=0.42,
        sampling=SamplingConfig(guidance=1.5),
    ),
    "strings": CheckpointConfig(
        name="strings",
        audio=AudioConfig(sample_rate=8000),
        codec=MuLawCodec(),
        model=WaveNetConfig(
            residual_channels=64,
            gate_channels=64,
            skip_channels=128,
            dilations=tuple(2**n for n in range(12)) * 2,
            conditions=(
                NumberCondition(
                    name="loudness",
                    low=-60.0,
                    high=-5.0,
                    unit="dB",
                    dropout=0.1,
                    derived_from="loudness",
                    default=-20.0,
                ),
            ),
            condition_hop=400,
        ),
        default_seconds=3.0,
        sampling=SamplingConfig(temperature=0.8, guidance=1.5),
    ),
    "vocoder": CheckpointConfig(
        name="vocoder",
        audio=AudioConfig(sample_rate=8000),
        codec=MuLawCodec(),
        model=WaveNetConfig(
            residual_channels=64,
            gate_channels=64,
            skip_channels=128,
            dilations=tuple(2**n for n in range(8)) * 3,
            conditions=(MelCondition(n_mels=24, win_length=320, channels=128, context=3),),
            condition_channels=128,
            condition_hop=160,
        ),
        default_seconds=0.432,
        sampling=SamplingConfig(temperature=0.8),
    ),
}
RENAMED = {"bands", "window", "coefficients", "low_hz", "high_hz", "measured", "usual"}


def condition_keys(text):
    return {key for condition in json.loads(text)["model"]["conditions"] for key in condition}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_config_of_an_older_checkpoint_loads_and_is_written_with_the_new_keys(tmp_path, name):
    """The files are those of the three shipped checkpoints before any key was renamed."""
    text = (OLD_CONFIGS / f"{name}.json").read_text()
    assert "architecture" not in text
    assert (name == "digits") == (not condition_keys(text) & RENAMED)
    (tmp_path / CONFIG).write_text(text)
    config = checkpoint.load_config(tmp_path)
    assert config == EXPECTED[name]
    new = config.model_dump_json()
    assert not condition_keys(new) & RENAMED
    assert json.loads(new)["model"]["architecture"] == "wavenet"
    assert parse_config(CheckpointConfig, new, "new") == config
    # negative control: another value of an old key is another config
    for key in condition_keys(text) & RENAMED:
        values = json.loads(text)
        changed = {"measured": None, "low_hz": 50.0, "high_hz": 3000.0, "usual": -30.0}
        values["model"]["conditions"][0][key] = changed.get(key, 64)
        assert parse_config(CheckpointConfig, json.dumps(values), "changed") != config


@pytest.mark.parametrize(
    ("old", "condition"),
    [
        (
            {"kind": "mel", "bands": 40, "window": 512, "low_hz": 60.0, "high_hz": 3800.0},
            MelCondition(n_mels=40, win_length=512, f_min=60.0, f_max=3800.0),
        ),
        (
            {"kind": "mfcc", "coefficients": 13, "bands": 40, "window": 512},
            MfccCondition(n_mfcc=13, n_mels=40, win_length=512),
        ),
        (
            {"kind": "f0", "low_hz": 80.0, "high_hz": 400.0},
            F0Condition(f_min=80.0, f_max=400.0),
        ),
    ],
    ids=["mel", "mfcc", "f0"],
)
def test_the_old_keys_of_a_condition_are_the_new_keys(old, condition):
    values = {**TINY, "model": {**TINY["model"], "conditions": [old]}}
    config = parse_config(CheckpointConfig, json.dumps(values), "old")
    assert config.model.conditions == (condition,)
    assert parse_config(CheckpointConfig, config.model_dump_json(), "new") == config


def test_an_old_key_is_valid_for_its_condition_only_and_not_with_the_new_key():
    for condition in (
        {"kind": "position", "bands": 40},
        {"kind": "f0", "window": 512},
        {"kind": "mel", "coefficients": 13},
        {"kind": "mel", "bands": 40, "n_mels": 40},
    ):
        values = {**TINY, "model": {**TINY["model"], "conditions": [condition]}}
        with pytest.raises(ConfigError, match=r"model\.conditions\.0\.\w+ is not known"):
            parse_config(CheckpointConfig, json.dumps(values), "old")


def test_a_missing_folder_is_named(tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path / ("x" * 200) / "\0"):
        assert f"{CONFIG} and {WEIGHTS}" in refusal(folder)


def test_a_zip_is_named_with_the_command_that_unpacks_it(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.make_archive("my digits", "zip", folder)
    Path("other.zip").write_bytes(b"not a zip file")
    command = "`python -m zipfile -e 'my digits.zip' FOLDER`"
    with pytest.raises(CheckpointError, match=re.escape(command)):
        checkpoint.load("my digits.zip")
    assert "zipfile" not in refusal("other.zip")
    assert "zipfile" not in refusal("missing.zip")


def test_the_name_of_a_repository_is_named_with_the_command_that_downloads_it(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    with pytest.raises(CheckpointError, match=r"use `wavenet hub pull me/my-digits`$"):
        checkpoint.load("me/my-digits")
    # paths of this machine: the folder runs is here, the folder checkpoints is in the program
    for name in ("digits2", "runs/nosuch", "checkpoints/nosuch", "a/b/c", str(tmp_path / "x")):
        assert "hub pull" not in refusal(name), name


def test_a_name_that_no_file_system_accepts_is_refused(tmp_path):
    """Regression: it raised an OSError, and so did a folder without read permission."""
    assert "too long" in refusal(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert f"has no {name}" in refusal(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_refused(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    refusal(folder)
    (folder / name).rmdir()
    os.mkfifo(folder / name)
    refusal(folder)


@pytest.mark.parametrize(
    "change",
    [{"residual_channels": 8}, {"dilations": [1, 2]}, {"kernel_size": 3}, {"conditions": []}],
    ids=str,
)
def test_the_config_of_another_model_is_refused(folder, tmp_path, change):
    checkpoint.save(tmp_path / "other", *make(**change))
    (folder / CONFIG).write_bytes((tmp_path / "other" / CONFIG).read_bytes())
    assert "does not fit its config.json: the tensor" in refusal(folder)


@pytest.mark.parametrize(
    "text, words",
    [
        (json.dumps({**TINY, "layers": 3}), "the key layers is not known"),
        (json.dumps({**TINY, "format_version": 2}), "format_version"),
        (json.dumps({**TINY, "model": {**TINY["model"], "residual_channels": 10**7}}), "residual"),
        (json.dumps({**TINY, "model": {**TINY["model"], "architecture": "x"}}), "wavenet"),
        (json.dumps({**TINY, "a\nb": 3}), "is not known"),
        ("[" * 100_000, "recursion"),
        ('{"model":' * 50_000, "recursion"),
        (" " * (1 << 20) + "{}", "bytes"),
        ("", "JSON"),
        ("{}", "the key name is missing"),
        ("[]", "the content: "),
        (b"\xff\xfe\x00", "JSON"),
    ],
    ids=range(12),
)
def test_an_invalid_config_is_refused(folder, text, words):
    (folder / CONFIG).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert words in refusal(folder)


def test_the_sizes_are_checked_before_anything_is_built(folder, monkeypatch):
    def refuse_to_build(config):
        raise AssertionError("it was built")

    monkeypatch.setattr(checkpoint, "build", refuse_to_build)
    with pytest.raises(AssertionError):
        checkpoint.load(folder)  # control: a small model reaches `build`
    model = {**TINY["model"], "residual_channels": 4096, "gate_channels": 4096}
    (folder / CONFIG).write_text(json.dumps({**TINY, "model": model}))
    assert "parameters; the limit is" in refusal(folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match="cannot be written") as caught:
            checkpoint.save(target, *make())
        assert len(str(caught.value).splitlines()) == 1
        assert str(target) in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_leaves_the_old_weights_complete(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*args):
        raise OSError(28, "No space left on device")

    config, model = make()
    with torch.no_grad():
        model.output.bias.fill_(2)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CheckpointError, match="the disk is full"):
        checkpoint.save(folder, config, model)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["type", "keys", "values", "forward", "training", "_modules"])
def test_a_condition_cannot_have_a_name_that_torch_reserves(folder, name):
    """Regression: a label with the name "type" raised a KeyError of torch."""
    label = {"kind": "label", "name": name, "values": ["a"]}
    values = {**TINY, "model": {**TINY["model"], "conditions": [label]}}
    (folder / CONFIG).write_text(json.dumps(values))
    assert name in refusal(folder)
    with pytest.raises(ConfigError, match=name):
        checkpoint.build(parse_config(CheckpointConfig, json.dumps(values), "tiny"))


def split(folder):
    """Return header (a dict) and body of the weights."""
    data = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(folder, header, body):
    """Write weights from a header, a dict or JSON text, and a body."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.mark.parametrize("end", [0, 1, 7, 8, 9, 100, 0.5, 0.9, -4, -1])
def test_truncated_weights_are_refused(folder, end):
    data = (folder / WEIGHTS).read_bytes()
    end = int(end * len(data)) if isinstance(end, float) else end
    (folder / WEIGHTS).write_bytes(data[:end])
    assert WEIGHTS in refusal(folder)


@pytest.mark.parametrize("extra", [1, 4096, 2 << 20])
def test_bytes_after_the_weights_are_refused(folder, extra):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data + bytes(extra))
    assert WEIGHTS in refusal(folder)


class MakeFolder:
    """Creates a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_named_as_weights_is_refused_and_never_runs(folder, tmp_path, protocol):
    data = pickle.dumps(MakeFolder(tmp_path / "marker"), protocol)
    (folder / WEIGHTS).write_bytes(data)
    sentence = refusal(folder)
    assert not (tmp_path / "marker").exists()
    assert protocol < 2 or "is a pickle" in sentence
    pickle.loads(data)  # control: the pickle runs code
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_named_as_weights_is_refused_and_never_runs(folder, tmp_path, zipped):
    torch.save(
        {"x": MakeFolder(tmp_path / "marker")},
        folder / WEIGHTS,
        _use_new_zipfile_serialization=zipped,
    )
    assert "is a pickle" in refusal(folder)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 0x4B50])
def test_a_header_whose_length_looks_like_the_start_of_a_pickle_is_read(folder, length):
    """Regression: one model in 1,600 was refused, if its header length began as "PK" or 80 02."""
    header, body = split(folder)
    text = json.dumps(header)
    length += (len(text) // 65_536 + 1) * 65_536
    write(folder, text.ljust(length), body)
    assert torch.equal(forward(checkpoint.load(folder).model), forward(make()[1]))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 101 << 20, 1 << 40])
def test_an_absurd_header_length_is_refused(folder, length):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", length) + data[8:])
    assert "its header is longer than the file" in refusal(folder)


def test_a_git_lfs_pointer_is_named(folder):
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    assert "is a Git LFS pointer, not the weights; run `git lfs pull`" in refusal(folder)


@pytest.mark.parametrize(
    "header",
    [
        "[]", "1", "null", '"x"', "{", '{"a": 1}', '{"a": {}}', '{"a": {"shape": 1, "dtype": 2}}',
        "[" * 50_000, '{"a":' * 50_000, '{"a": ' + "9" * 5000 + "}", "\x00",
    ],
    ids=range(12),
)  # fmt: skip
def test_a_header_that_does_not_list_tensors_is_refused(folder, header):
    write(folder, header, split(folder)[1])
    refusal(folder)


def test_a_tensor_name_that_occurs_twice_is_refused(folder):
    header, body = split(folder)
    text = json.dumps(header)
    twice = text[:-1] + ', "output.bias": ' + json.dumps(header["output.bias"]) + "}"
    write(folder, text, body)
    checkpoint.load(folder)  # control: the same tensors, each only one time
    write(folder, twice, body)
    assert "occurs twice" in refusal(folder)


def test_a_field_that_occurs_twice_in_a_tensor_is_refused(folder):
    header, body = split(folder)
    text = json.dumps(header).replace('"dtype": "F32"', '"dtype": "F32", "dtype": "F32"', 1)
    write(folder, text, body)
    assert "occurs twice" in refusal(folder)


def test_tensors_that_overlap_or_leave_a_gap_are_refused(folder):
    header, body = split(folder)
    first, last = header["output.bias"]["data_offsets"]
    for offsets in [
        (0, last - first),
        (first + 4, last + 4),
        (last, first),
        (-4, last),
        (0, 2**63),
    ]:
        header["output.bias"]["data_offsets"] = list(offsets)
        write(folder, header, body)
        refusal(folder)


def change_tensors(folder, change):
    """Write weights after a change of the dict of tensors."""
    tensors = make()[1].state_dict()
    change(tensors)
    (folder / WEIGHTS).write_bytes(to_bytes(tensors))


def test_a_tensor_of_another_shape_is_named_with_both_shapes(folder):
    change_tensors(folder, lambda t: t.update({"output.bias": torch.zeros(63)}))
    sentence = refusal(folder)
    assert "output.bias" in sentence
    assert "(63,)" in sentence
    assert "(64,)" in sentence


def test_a_tensor_with_swapped_axes_is_refused(folder):
    change_tensors(folder, lambda t: t.update({"output.weight": t["output.weight"].T.contiguous()}))
    assert "output.weight" in refusal(folder)


def test_an_extra_tensor_is_named(folder):
    change_tensors(folder, lambda t: t.update({"intruder\n": torch.zeros(1)}))
    assert r"the tensor 'intruder\n' is" in refusal(folder)


def test_a_missing_tensor_is_named(folder):
    change_tensors(folder, lambda t: t.pop("skip.weight"))
    assert "the tensor skip.weight is missing" in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int32])
def test_a_tensor_of_another_type_is_refused(folder, dtype):
    change_tensors(folder, lambda t: t.update({"output.bias": t["output.bias"].to(dtype)}))
    assert "output.bias" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_refused(folder, value):
    change_tensors(folder, lambda t: t["embedding.weight"][3].fill_(value))
    assert "the tensor embedding.weight contains NaN or infinity" in refusal(folder)
