"""Zip archives of checkpoints: packing and unpacking, and hostile archives."""

import io
import json
import pickle
import stat
import warnings
import zipfile
import zlib

import pytest

from wavenet import checkpoint
from wavenet.errors import CheckpointError, ConditionError
from wavenet.sharing import zip_archive

NAMES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def root(tmp_path):
    """Return an empty folder of checkpoints, next to a file that must not change."""
    (tmp_path / "victim.txt").write_text("untouched")
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def files(folder):
    """Return the content of each file of a checkpoint, by name."""
    return {name: (folder / name).read_bytes() for name in NAMES}


def zip_of(entries, path):
    """Write a zip file from pairs of a name (or a ZipInfo) and bytes; return its path."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        warnings.simplefilter("ignore")  # about a name that occurs twice
        for name, content in entries:
            file.writestr(name, content)
    return path


def list_paths(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def assert_refused(path, root, kind=CheckpointError):
    """Assert that unpacking fails and leaves no files; return the error message."""
    before = list_paths(root.parent)
    with pytest.raises(kind) as caught:
        zip_archive.unpack(path, root)
    assert list_paths(root.parent) == before
    assert (root.parent / "victim.txt").read_text() == "untouched"
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(root) not in message
    return message


def test_unpack_restores_what_pack_wrote(folder, files, root, tmp_path):
    zip_archive.pack(folder, tmp_path / "tiny.zip")
    made = zip_archive.unpack(tmp_path / "tiny.zip", root)
    assert made == root / "tiny"
    assert {p.name: p.read_bytes() for p in made.iterdir()} == files
    assert list_paths(root) == ["tiny", *(f"tiny/{name}" for name in NAMES)]
    checkpoint.load(made)


@pytest.mark.parametrize("prefix", ["", "anything at all/"])
def test_other_zip_files_are_read_with_or_without_a_folder(files, root, tmp_path, prefix):
    entries = [(prefix + name, files[name]) for name in NAMES]
    if prefix:
        entries = [(prefix, b""), *entries, ("__MACOSX/._x", b"?"), (f"{prefix}.DS_Store", b"?")]
    assert zip_archive.unpack(zip_of(entries, tmp_path / "a.zip"), root).name == "tiny"


def test_a_card_may_be_missing(files, root, tmp_path):
    entries = [(name, files[name]) for name in NAMES[1:]]
    assert not (
        zip_archive.unpack(zip_of(entries, tmp_path / "a.zip"), root) / "README.md"
    ).exists()


@pytest.mark.parametrize(
    "name",
    [
        "../victim.txt",
        "../config.json",
        "/config.json",
        "a/../../victim.txt",
        "a/b/config.json",
        "..\\victim.txt",
        "C:\\config.json",
        "other/config.json",
        "config.json/x",
        "CONFIG.JSON",
        "pytorch_model.bin",
        "tiny/__init__.py",
        "config.json",
        ".git/hooks/post-checkout",
    ],
)
def test_other_names_and_paths_are_refused(files, root, tmp_path, name):
    entries = [(n, files[n]) for n in NAMES] + [(name, b"evil")]
    assert "expected only" in assert_refused(zip_of(entries, tmp_path / "a.zip"), root)


@pytest.mark.parametrize(
    "places", [("../",), ("/",), ("a/b/",), ("a/../",), ("a/", "b/"), ("", "b/")]
)
def test_files_in_several_or_nested_folders_are_refused(files, root, tmp_path, places):
    entries = [(places[n % len(places)] + name, files[name]) for n, name in enumerate(NAMES)]
    assert "expected only" in assert_refused(zip_of(entries, tmp_path / "a.zip"), root)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(files, root, tmp_path, kind):
    link = zipfile.ZipInfo("README.md")
    link.create_system = 3
    link.external_attr = (kind | 0o777) << 16
    entries = [(n, files[n]) for n in NAMES[1:]] + [(link, b"../victim.txt")]
    assert "'README.md'" in assert_refused(zip_of(entries, tmp_path / "a.zip"), root)


def test_a_pickle_instead_of_weights_is_never_loaded(files, root, tmp_path):
    class HostileObject:
        def __reduce__(self):
            return open, (str(tmp_path / "victim.txt"), "w")

    entries = [*files.items(), ("model.safetensors", b"")][:-1]
    weights = pickle.dumps(HostileObject())
    path = zip_of([*entries[:2], ("model.safetensors", weights)], tmp_path / "a.zip")
    message = assert_refused(path, root)
    assert "a.zip: model.safetensors is a pickle" in message


def test_a_zip_bomb_is_refused_before_it_is_unpacked(files, root, tmp_path, monkeypatch):
    read = []
    original = zipfile.ZipExtFile.read

    def counted(self, n=-1):
        data = original(self, n)
        read.append(len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    monkeypatch.setattr(zip_archive, "MAX_WEIGHTS_BYTES", 100_000)
    packed = zlib.compress(b"\0" * 50_000_000)
    entries = [(n, files[n]) for n in NAMES[:2]] + [("model.safetensors", b"\0" * 50_000_000)]
    path = zip_of(entries, tmp_path / "a.zip")
    assert path.stat().st_size < 2 * len(packed)
    assert "more than 100,000 bytes" in assert_refused(path, root)
    assert max(read) <= 100_001
    entries = [("README.md", b" " * 10_000_000), *((n, files[n]) for n in NAMES[1:])]
    assert "README.md has more than" in assert_refused(zip_of(entries, tmp_path / "b.zip"), root)


def test_a_false_size_is_refused(files, root, tmp_path):
    data = bytearray(zip_of(files.items(), tmp_path / "a.zip").read_bytes())
    start = data.rindex(b"PK\x01\x02")
    data[start + 24 : start + 28] = (10).to_bytes(4, "little")
    path = tmp_path / "lie.zip"
    path.write_bytes(data)
    assert "lie.zip" in assert_refused(path, root)


def test_a_model_that_is_too_large_is_refused_before_it_is_built(
    files, root, tmp_path, monkeypatch
):
    config = json.loads(files["config.json"])
    config["model"] |= {"residual_channels": 4000, "skip_channels": 4000, "dilations": [1]}
    files["config.json"] = json.dumps(config).encode()
    monkeypatch.setattr(checkpoint, "build", lambda _: pytest.fail("it was built"))
    message = assert_refused(zip_of(files.items(), tmp_path / "a.zip"), root)
    assert "16,777,216" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config.json": b"{}"}, "a.zip: config.json"),
        ({"config.json": b"[" * 100_000}, "a.zip: config.json"),
        ({"config.json": b'{"name": "../up"}'}, "a.zip: config.json"),
        ({"model.safetensors": b"short"}, "truncated"),
        ({"config.json": None}, "has no config.json"),
        ({"model.safetensors": None}, "has no model.safetensors"),
    ],
)
def test_invalid_checkpoints_are_refused(files, root, tmp_path, change, words):
    entries = [(n, c) for n, c in (files | change).items() if c is not None]
    assert words in assert_refused(zip_of(entries, tmp_path / "a.zip"), root)


def test_a_name_that_is_a_path_is_refused(files, root, tmp_path):
    config = json.loads(files["config.json"])
    files["config.json"] = json.dumps(config | {"name": "../../tmp"}).encode()
    assert "name: " in assert_refused(zip_of(files.items(), tmp_path / "a.zip"), root)


@pytest.mark.parametrize("name", ["tiny", "TINY"])
def test_an_existing_name_is_refused(files, root, tmp_path, name):
    (root / name).mkdir()
    path = zip_of(files.items(), tmp_path / "a.zip")
    assert "a checkpoint tiny exists already" in assert_refused(path, root, ConditionError)


def test_damaged_encrypted_and_unusual_archives_are_refused(files, root, tmp_path):
    good = zip_of(files.items(), tmp_path / "good.zip").read_bytes()
    encrypted = bytearray(good)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := encrypted.find(mark, start + 1)) >= 0:
            encrypted[start + offset] |= 1
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("config.json", b"{}")
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as file:
        for number in range(zip_archive.MAX_ENTRIES + 1):
            file.writestr(f"{number}/", b"")
    hostile = [b"", b"no zip", good[:-30], good[: len(good) // 2], bytes(encrypted)]
    hostile += [other.getvalue(), many.getvalue(), good.replace(b"config.json", b"confug.json")]
    for number, data in enumerate(hostile):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data)
        assert f"{number}.zip" in assert_refused(path, root)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 255
    (tmp_path / "flipped.zip").write_bytes(flipped)
    assert "flipped.zip" in assert_refused(tmp_path / "flipped.zip", root)
