"""Hostile and damaged PyTorch files: no code runs, and each error is one sentence."""

import pickle
import zipfile

import pytest
import torch

from wavenet.errors import CheckpointError, ConfigError
from wavenet.importing import pickle_reader
from wavenet.importing.pickle_reader import OpaqueObject


class Hostile:
    """An object whose pickle writes a file if it is read without restrictions."""

    def __init__(self, path, function):
        self.path, self.function = path, function

    def __reduce__(self):
        return self.function, (f"touch {self.path}",)


def write(folder, content, legacy=False):
    torch.save(content, folder / "model.pth", _use_new_zipfile_serialization=not legacy)
    return folder / "model.pth"


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["os.system", "eval", "subprocess.getoutput"])
def test_a_hostile_file_is_refused_and_does_nothing(tmp_path, trusted, legacy, name):
    module_name, _, function = name.rpartition(".")
    called = getattr(__import__(module_name or "builtins"), function)
    mark = tmp_path / "mark"
    path = write(tmp_path, {"a": torch.ones(2), "b": Hostile(mark, called)}, legacy)
    expected = CheckpointError if trusted else ConfigError
    with pytest.raises(expected) as caught:
        pickle_reader.read_pickle(path, trusted, ["wavenet_model.WaveNetModel"])
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    words = f"{function}, which is not allowed in this file format" if trusted else "--trusted"
    assert words in message
    assert not mark.exists()
    if name == "os.system":  # the file really contains the call
        with path.open("rb") as file:
            raw = file.read() if legacy else zipfile.ZipFile(file).read("model/data.pkl")
        assert b"system" in raw


def test_a_plain_pickle_is_refused(tmp_path):
    mark = tmp_path / "mark"
    with (tmp_path / "model.pth").open("wb") as file:
        pickle.dump(Hostile(mark, __import__("os").system), file)
    with pytest.raises(CheckpointError):
        pickle_reader.read_pickle(tmp_path / "model.pth", True)
    assert not mark.exists()


def test_an_untrusted_file_is_not_opened(tmp_path):
    with pytest.raises(ConfigError, match=r"is a pickle.* --trusted"):
        pickle_reader.read_pickle(tmp_path / "none.pth", False)
    with pytest.raises(CheckpointError, match="there is no file"):
        pickle_reader.read_pickle(tmp_path / "none.pth", True)


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_numbers_and_strings_are_read(tmp_path, legacy):
    content = {"a": torch.arange(3.0), "n": 3, "words": ["x", None]}
    found = pickle_reader.read_pickle(write(tmp_path, content, legacy), True)
    assert torch.equal(found["a"], content["a"])
    assert (found["n"], found["words"]) == (3, ["x", None])


@pytest.mark.parametrize("keep", [0, 1, 100, -30])
def test_a_damaged_file_is_refused(tmp_path, keep):
    path = write(tmp_path, {"a": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        pickle_reader.read_pickle(path, True)
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_are_too_large_or_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path, {"a": torch.ones(1000)})
    monkeypatch.setattr(pickle_reader, "MAX_BYTES", 3000)
    with pytest.raises(CheckpointError, match="limit is 3,000"):
        pickle_reader.read_pickle(path, True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", bytes(100_000))
    assert path.stat().st_size < 3000
    with pytest.raises(CheckpointError, match="has 100,000 bytes"):
        pickle_reader.read_pickle(path, True)


def test_allowed_names_are_not_registered_globally(tmp_path):
    pickle_reader.read_pickle(
        write(tmp_path, {"a": torch.ones(2)}), True, ["wavenet_model.WaveNetModel"]
    )
    assert "OpaqueObject" not in str(torch.serialization.get_safe_globals())


def module(**children):
    result = OpaqueObject()
    result.__setstate__(
        {"_parameters": {"weight": torch.ones(1), "bias": None}, "_modules": children}
    )
    return result


def test_parameters_of_nested_modules_are_collected():
    found = pickle_reader.collect_state_dict(module(a=module(), b=module(c=module())), "x")
    assert list(found) == ["weight", "a.weight", "b.weight", "b.c.weight"]
    endless = module()
    endless.state["_modules"]["again"] = endless
    for wrong in (endless, OpaqueObject(), module(a=OpaqueObject())):
        with pytest.raises(CheckpointError, match="structure of a module"):
            pickle_reader.collect_state_dict(wrong, "x")


def test_the_message_does_not_advise_to_read_unsafely(tmp_path):
    """torch's own message for a text file advises to turn weights_only off."""
    path = tmp_path / "notes.pth"
    path.write_text("no weights\n")
    with pytest.raises(CheckpointError) as caught:
        pickle_reader.read_pickle(path, trusted=True)
    assert str(path) in str(caught.value)
    assert "weights_only" not in str(caught.value)
