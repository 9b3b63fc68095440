"""Archives of checkpoints: what was packed comes back; hostile ones are one sentence."""

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
    """A folder of checkpoints, still empty, beside something that must stay as it is."""
    (tmp_path / "victim.txt").write_text("untouched")
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def files(folder):
    return {name: (folder / name).read_bytes() for name in NAMES}


def zip_of(entries, path):
    """Write entries, pairs of a name (or a ZipInfo) and bytes."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        warnings.simplefilter("ignore")  # of a name that occurs twice
        for name, content in entries:
            file.writestr(name, content)
    return path


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def refusal(path, root, kind=CheckpointError):
    """Unpack, and return the sentence of the refusal; nothing may be left behind."""
    before = everything(root.parent)
    with pytest.raises(kind) as caught:
        zip_archive.unpack(path, root)
    assert everything(root.parent) == before
    assert (root.parent / "victim.txt").read_text() == "untouched"
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert str(root) not in sentence
    return sentence


def test_what_is_packed_comes_back_and_nothing_beside_it(folder, files, root, tmp_path):
    zip_archive.pack(folder, tmp_path / "tiny.zip")
    made = zip_archive.unpack(tmp_path / "tiny.zip", root)
    assert made == root / "tiny"
    assert {p.name: p.read_bytes() for p in made.iterdir()} == files
    assert everything(root) == ["tiny", *(f"tiny/{name}" for name in NAMES)]
    checkpoint.load(made)


@pytest.mark.parametrize("prefix", ["", "anything at all/"])
def test_a_zip_made_by_hand_is_read_with_or_without_a_folder(files, root, tmp_path, prefix):
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
def test_no_other_name_and_no_other_place_is_taken(files, root, tmp_path, name):
    entries = [(n, files[n]) for n in NAMES] + [(name, b"evil")]
    assert "expected nothing but" in refusal(zip_of(entries, tmp_path / "a.zip"), root)


@pytest.mark.parametrize(
    "places", [("../",), ("/",), ("a/b/",), ("a/../",), ("a/", "b/"), ("", "b/")]
)
def test_a_checkpoint_lies_at_the_top_or_in_one_folder(files, root, tmp_path, places):
    entries = [(places[n % len(places)] + name, files[name]) for n, name in enumerate(NAMES)]
    assert "expected nothing but" in refusal(zip_of(entries, tmp_path / "a.zip"), root)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(files, root, tmp_path, kind):
    link = zipfile.ZipInfo("README.md")
    link.create_system = 3
    link.external_attr = (kind | 0o777) << 16
    entries = [(n, files[n]) for n in NAMES[1:]] + [(link, b"../victim.txt")]
    assert "'README.md'" in refusal(zip_of(entries, tmp_path / "a.zip"), root)


def test_a_pickle_in_place_of_weights_is_never_loaded(files, root, tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "victim.txt"), "w")

    entries = [*files.items(), ("model.safetensors", b"")][:-1]
    weights = pickle.dumps(Trap())
    path = zip_of([*entries[:2], ("model.safetensors", weights)], tmp_path / "a.zip")
    sentence = refusal(path, root)
    assert "a.zip: model.safetensors is a pickle" in sentence


def test_a_bomb_is_refused_before_it_is_unpacked(files, root, tmp_path, monkeypatch):
    read = []
    whole = zipfile.ZipExtFile.read

    def counted(self, n=-1):
        data = whole(self, n)
        read.append(len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    monkeypatch.setattr(zip_archive, "MAX_WEIGHTS_BYTES", 100_000)
    packed = zlib.compress(b"\0" * 50_000_000)
    entries = [(n, files[n]) for n in NAMES[:2]] + [("model.safetensors", b"\0" * 50_000_000)]
    path = zip_of(entries, tmp_path / "a.zip")
    assert path.stat().st_size < 2 * len(packed)
    assert "more than 100,000 bytes" in refusal(path, root)
    assert max(read) <= 100_001
    entries = [("README.md", b" " * 10_000_000), *((n, files[n]) for n in NAMES[1:])]
    assert "README.md has more than" in refusal(zip_of(entries, tmp_path / "b.zip"), root)


def test_a_size_that_is_a_lie_is_a_sentence(files, root, tmp_path):
    data = bytearray(zip_of(files.items(), tmp_path / "a.zip").read_bytes())
    start = data.rindex(b"PK\x01\x02")
    data[start + 24 : start + 28] = (10).to_bytes(4, "little")
    path = tmp_path / "lie.zip"
    path.write_bytes(data)
    assert "lie.zip" in refusal(path, root)


def test_a_network_too_large_is_refused_before_it_is_built(files, root, tmp_path, monkeypatch):
    config = json.loads(files["config.json"])
    config["model"] |= {"residual_channels": 4000, "skip_channels": 4000, "dilations": [1]}
    files["config.json"] = json.dumps(config).encode()
    monkeypatch.setattr(checkpoint, "build", lambda _: pytest.fail("it was built"))
    sentence = refusal(zip_of(files.items(), tmp_path / "a.zip"), root)
    assert "parameters; an archive may have 16,777,216" in sentence


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
def test_what_is_no_checkpoint_is_a_sentence(files, root, tmp_path, change, words):
    entries = [(n, c) for n, c in (files | change).items() if c is not None]
    assert words in refusal(zip_of(entries, tmp_path / "a.zip"), root)


def test_the_name_of_a_folder_cannot_be_chosen_freely(files, root, tmp_path):
    config = json.loads(files["config.json"])
    files["config.json"] = json.dumps(config | {"name": "../../tmp"}).encode()
    assert "name: " in refusal(zip_of(files.items(), tmp_path / "a.zip"), root)


@pytest.mark.parametrize("name", ["tiny", "TINY"])
def test_a_name_that_is_taken_is_refused(files, root, tmp_path, name):
    (root / name).mkdir()
    path = zip_of(files.items(), tmp_path / "a.zip")
    assert "there is a checkpoint tiny already" in refusal(path, root, ConditionError)


def test_damaged_encrypted_and_strange_archives_are_one_sentence(files, root, tmp_path):
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
        assert f"{number}.zip" in refusal(path, root)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 255
    (tmp_path / "flipped.zip").write_bytes(flipped)
    assert "flipped.zip" in refusal(tmp_path / "flipped.zip", root)
