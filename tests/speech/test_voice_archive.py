"""Zip archives of voices: packing and unpacking, and hostile archives."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from wavenet import checkpoint
from wavenet.errors import CheckpointError, ConditionError
from wavenet.sharing import zip_archive
from wavenet.speech import voice_archive
from wavenet.speech.voice_archive import pack_model, unpack_model
from wavenet.speech.voice_folder import load_voice

from .tiny_voice import save_vocoder, save_voice

Files = dict[str, bytes]
NAMES = [
    "config.json",
    "model.safetensors",
    "vocoder/config.json",
    "vocoder/model.safetensors",
]


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """The folder of a voice."""
    return save_voice(tmp_path / "made" / "tiny")


@pytest.fixture
def files(voice: Path) -> Files:
    """The content of each file of a voice, by name."""
    return {name: (voice / name).read_bytes() for name in NAMES}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder of checkpoints."""
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def zip_of(files: Files, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(prefix + name, content)
    return path


def assert_refused(path: Path, root: Path, kind: type[Exception] = CheckpointError) -> str:
    """Assert that unpacking fails and leaves no files; return the error message."""
    before = sorted(root.parent.rglob("*"))
    with pytest.raises(kind) as caught:
        unpack_model(path, root)
    assert sorted(root.parent.rglob("*")) == before
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(root) not in message
    return message


def test_a_voice_is_packed_and_unpacked(voice: Path, files: Files, root: Path) -> None:
    (voice / "README.md").write_text("# Card\n")
    (voice / "vocoder" / "private.txt").write_text("must not be packed")
    pack_model(voice, root.parent / "a.zip")
    made = unpack_model(root.parent / "a.zip", root)
    found = {str(p.relative_to(made)): p.read_bytes() for p in made.rglob("*") if p.is_file()}
    assert found == files | {"README.md": b"# Card\n"}
    assert made == root / load_voice(voice).acoustic.config.name
    load_voice(made)


@pytest.mark.parametrize("prefix", ["", "any folder/", "vocoder/"])
def test_a_voice_may_be_in_a_folder_of_any_name(files: Files, root: Path, prefix: str) -> None:
    path = zip_of(files | {"vocoder/.DS_Store": b"?"}, root.parent / "a.zip", prefix)
    load_voice(unpack_model(path, root))


def test_a_checkpoint_in_a_folder_named_vocoder_is_a_checkpoint(voice: Path, root: Path) -> None:
    pack_model(voice / "vocoder", root.parent / "a.zip")
    made = unpack_model(root.parent / "a.zip", root)
    assert sorted(path.name for path in made.iterdir()) == ["config.json", "model.safetensors"]
    assert made.name == "vocoder"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vocoder/config.json": None}, "has no vocoder/config.json; expected a complete voice"),
        ({"vocoder/model.safetensors": None}, "has no vocoder/model.safetensors"),
        ({"vocoder/config.json": None, "vocoder/model.safetensors": None}, "has no vocoder/"),
        ({"model.safetensors": None}, "has no model.safetensors"),
        ({"config.json": None}, "has no config.json"),
        ({"config.json": b'{"kind": "voice"}'}, "a.zip: config.json"),
        ({"config.json": b'{"kind": "voice", "name": ' + b"[" * 100_000}, "a.zip: config.json"),
        ({"vocoder/config.json": b"{}"}, "a.zip: vocoder/config.json"),
        ({"model.safetensors": b"short"}, "a.zip: model.safetensors"),
        ({"vocoder/model.safetensors": b"\x80\x04short"}, "vocoder/model.safetensors is a pickle"),
        ({"vocoder/vocoder/config.json": b"{}"}, "contains 'vocoder/vocoder/config.json'"),
        ({"../config.json": b"{}"}, "contains '../config.json'"),
        ({"vocoder/../../victim": b"{}"}, "contains 'vocoder/../../victim'"),
        ({"other/config.json": b"{}"}, "contains 'other/config.json'"),
        ({"/vocoder/config.json": b"{}"}, "contains '/vocoder/config.json'"),
        ({"vocoder/run.py": b"1/0"}, "contains 'vocoder/run.py'"),
    ],
)
def test_other_archives_are_refused(
    files: Files, root: Path, change: dict[str, bytes | None], words: str
) -> None:
    changed = {name: content for name, content in (files | change).items() if content is not None}
    assert words in assert_refused(zip_of(changed, root.parent / "a.zip"), root)


def test_two_configs_are_refused(files: Files, root: Path) -> None:
    path = zip_of(files, root.parent / "a.zip")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as file:
        file.writestr("vocoder/config.json", files["vocoder/config.json"])
    assert "contains 'vocoder/config.json'" in assert_refused(path, root)


def test_a_checkpoint_with_a_vocoder_is_refused(files: Files, root: Path) -> None:
    changed = files | {name: files[f"vocoder/{name}"] for name in NAMES[:2]}
    message = assert_refused(zip_of(changed, root.parent / "a.zip"), root)
    assert "is not that of a voice" in message


def test_a_vocoder_of_other_frames_is_refused(files: Files, root: Path, tmp_path: Path) -> None:
    other = save_vocoder(tmp_path / "other", hop=40)
    changed = files | {f"vocoder/{name}": (other / name).read_bytes() for name in NAMES[:2]}
    message = assert_refused(zip_of(changed, root.parent / "a.zip"), root)
    assert "does not read the frames of the voice" in message


def change_config(files: Files, name: str, change: Callable[[dict], None]) -> Files:
    config = json.loads(files[name])
    change(config)
    return files | {name: json.dumps(config, indent=2).encode()}


@pytest.mark.parametrize("name", ["config.json", "vocoder/config.json"])
def test_models_that_are_too_large_are_refused_before_they_are_built(
    files: Files, root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sizes = {"channels": 1024, "decoder_blocks": 16}
    if name.startswith("vocoder"):
        sizes = {"residual_channels": 4000, "skip_channels": 4000, "dilations": [1]}  # type: ignore[dict-item]

    def enlarge(config: dict) -> None:
        (config["model"] if name.startswith("vocoder") else config).update(sizes)

    monkeypatch.setattr(checkpoint, "build", lambda _: pytest.fail("it was built"))
    monkeypatch.setattr(voice_archive, "load_voice", lambda _: pytest.fail("it was built"))
    path = zip_of(change_config(files, name, enlarge), root.parent / "a.zip")
    assert "16,777,216" in assert_refused(path, root)


@pytest.mark.parametrize("name", ["model.safetensors", "vocoder/model.safetensors"])
def test_weights_that_are_too_large_are_refused(
    files: Files, root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(zip_archive, "MAX_WEIGHTS_BYTES", 1 << 20)
    path = zip_of(files | {name: b"\0" * (2 << 20)}, root.parent / "a.zip")
    assert f"{name} has more than 1,048,576 bytes" in assert_refused(path, root)


def test_the_name_of_a_voice_is_no_path(files: Files, root: Path) -> None:
    changed = change_config(files, "config.json", lambda config: config.update(name="../up"))
    assert "name" in assert_refused(zip_of(changed, root.parent / "a.zip"), root)


def test_an_existing_name_is_refused(voice: Path, root: Path) -> None:
    pack_model(voice, root.parent / "a.zip")
    unpack_model(root.parent / "a.zip", root)
    assert "exists already" in assert_refused(root.parent / "a.zip", root, ConditionError)
