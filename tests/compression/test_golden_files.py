"""Compressed files of version 1 are decoded for ever; `golden_files` made them."""

import hashlib
from pathlib import Path

import pytest

from tests.compression.audio_files import SHA256, find_deltas
from tests.compression.golden_files import FOLDER, RESTORED, list_plain, read_restored
from wavenet.compression.blocks import BlockCoder
from wavenet.compression.compressed_header import header_dictionary
from wavenet.compression.compressor_folder import load_block_coder
from wavenet.compression.decode_files import DecodedFile, decompress_files
from wavenet.compression.file_task import FileTask

ROOT = Path(__file__).parents[2]
GOLDEN = read_restored()


def find_coder(sha256: str) -> BlockCoder:
    return find_deltas(sha256) if SHA256.startswith(sha256) else load_block_coder(sha256)


def test_every_golden_file_is_listed() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {RESTORED.name, *GOLDEN}
    assert {f"{name}.wnc" for name in list_plain()} <= GOLDEN.keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_file_is_restored(tmp_path: Path, name: str) -> None:
    task = FileTask(FOLDER / name, tmp_path / "restored", name, "restored")
    (result,) = decompress_files([task], find_coder)
    assert isinstance(result, DecodedFile), result
    content = (tmp_path / "restored").read_bytes()
    assert hashlib.sha256(content).hexdigest() == GOLDEN[name]


def test_the_page_of_the_format_has_the_dictionary() -> None:
    page = (ROOT / "docs/reference/compressed-format.md").read_text(encoding="utf-8")
    text = page.partition("```text\n")[2].partition("```")[0].replace("\n", "")
    digits = 32 * "0"
    assert text.replace("DIGITS", digits).encode() == header_dictionary(bytes(16))
