"""The weights of a checkpoint: every damage is one sentence, never code that runs."""

import json
import os
import pickle
import struct

import pytest
import torch
from safetensors.torch import save as to_bytes

from wavenet import checkpoint
from wavenet.checkpoint import WEIGHTS

from . import forward, make, refusal


def split(folder):
    """Return header (a dict) and body of the weights."""
    data = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(folder, header, body):
    """Write weights from a header, a dict or JSON text, and a body."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 0.5, 0.9, -4, -1])
def test_truncated_weights_are_refused(folder, keep):
    data = (folder / WEIGHTS).read_bytes()
    cut = int(keep * len(data)) if isinstance(keep, float) else keep
    (folder / WEIGHTS).write_bytes(data[:cut])
    assert WEIGHTS in refusal(folder)


@pytest.mark.parametrize("extra", [1, 4096, 2 << 20])
def test_bytes_after_the_weights_are_refused(folder, extra):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data + bytes(extra))
    assert WEIGHTS in refusal(folder)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_in_disguise_is_refused_and_never_runs(folder, tmp_path, protocol):
    data = pickle.dumps(Bomb(tmp_path / "marker"), protocol)
    (folder / WEIGHTS).write_bytes(data)
    sentence = refusal(folder)
    assert not (tmp_path / "marker").exists()
    assert protocol < 2 or "is a pickle" in sentence
    pickle.loads(data)  # the control: it is a live one
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_in_disguise_is_refused_and_never_runs(folder, tmp_path, zipped):
    torch.save(
        {"x": Bomb(tmp_path / "marker")},
        folder / WEIGHTS,
        _use_new_zipfile_serialization=zipped,
    )
    assert "is a pickle" in refusal(folder)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 0x4B50])
def test_a_header_whose_length_looks_like_the_start_of_a_pickle_is_read(folder, length):
    """One model in 1,600 once could not be loaded: the length of its header read "PK" or 80 02."""
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


@pytest.mark.parametrize(
    "header",
    [
        "[]", "1", "null", '"x"', "{", '{"a": 1}', '{"a": {}}', '{"a": {"shape": 1, "dtype": 2}}',
        "[" * 50_000, '{"a":' * 50_000, '{"a": ' + "9" * 5000 + "}", "\x00",
    ],
    ids=range(12),
)  # fmt: skip
def test_a_header_that_is_no_list_of_tensors_is_refused(folder, header):
    write(folder, header, split(folder)[1])
    refusal(folder)


def test_a_name_that_occurs_twice_is_refused(folder):
    header, body = split(folder)
    text = json.dumps(header)
    twice = text[:-1] + ', "output.bias": ' + json.dumps(header["output.bias"]) + "}"
    write(folder, text, body)
    checkpoint.load(folder)  # the control: written by hand, but once
    write(folder, twice, body)
    assert "occurs twice" in refusal(folder)


def test_a_field_that_occurs_twice_in_a_tensor_is_refused(folder):
    header, body = split(folder)
    text = json.dumps(header).replace('"dtype": "F32"', '"dtype": "F32", "dtype": "F32"', 1)
    write(folder, text, body)
    assert "occurs twice" in refusal(folder)


def test_tensors_that_overlap_or_leave_a_hole_are_refused(folder):
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


def with_tensors(folder, change):
    tensors = make()[1].state_dict()
    change(tensors)
    (folder / WEIGHTS).write_bytes(to_bytes(tensors))


def test_a_tensor_of_another_shape_is_named_with_both_shapes(folder):
    with_tensors(folder, lambda t: t.update({"output.bias": torch.zeros(63)}))
    sentence = refusal(folder)
    assert "output.bias" in sentence
    assert "(63,)" in sentence
    assert "(64,)" in sentence


def test_a_tensor_with_its_axes_swapped_is_refused(folder):
    with_tensors(folder, lambda t: t.update({"output.weight": t["output.weight"].T.contiguous()}))
    assert "output.weight" in refusal(folder)


def test_a_tensor_too_many_is_named(folder):
    with_tensors(folder, lambda t: t.update({"intruder\n": torch.zeros(1)}))
    assert r"'intruder\n' is not known" in refusal(folder)


def test_a_tensor_too_few_is_named(folder):
    with_tensors(folder, lambda t: t.pop("skip.weight"))
    assert "the tensor skip.weight is missing" in refusal(folder)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.int32])
def test_a_tensor_of_another_type_is_refused(folder, kind):
    with_tensors(folder, lambda t: t.update({"output.bias": t["output.bias"].to(kind)}))
    assert "output.bias" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_refused(folder, value):
    with_tensors(folder, lambda t: t["embedding.weight"][3].fill_(value))
    assert "the tensor embedding.weight holds NaN or infinity" in refusal(folder)
