"""Compressed files of version 1 are decoded for ever.

Never write these files again: a new version gets new files beside them.
"""

import hashlib
from pathlib import Path

import pytest

from tests.compression.audio_files import find_deltas
from wavenet.compression import compressed_header
from wavenet.compression.decode_files import DecodedFile, decompress_files
from wavenet.compression.file_task import FileTask

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/golden/compressed"
# SHA-256 of the restored files
RESTORED = {
    "wav_16_stereo.wnc": "8ab9e01c66a726d61adcf21891e5d161fea1668eb03551976f0f60c1a3f84d51",
    "wav_8_chunks.wnc": "718e42f830663ccbc676b72c5e83040c03fe43064b845e0b97cb79b45d47184a",
    "wav_24_extensible.wnc": "1f5bacbf4e85d10c11821d752c9c953c0025184668b13967768591cb72d47ff5",
    "aiff_24.wnc": "53865090e8b473a3329aefbe26f41696d28c03fb3886b4c37275f2d417ffba7e",
    "aifc_sowt.wnc": "b770e5c1add02bfd5c95496deb930ea77bfb6aa66eeadeac7136bb8faa891aed",
    "samples_only.wnc": "8ab9e01c66a726d61adcf21891e5d161fea1668eb03551976f0f60c1a3f84d51",
    "empty.wnc": "79bfb4abe83f7baf910cd53c3e7c5707094a764c7d2426c0a735b66e0f74cc9e",
    "pipe_sizes.wnc": "26a853a4dee608e8a43cda6963e023b4638d607ae7f622a523ae947db4acabaa",
    "three_blocks.wnc": "e71afbe314cb24f3cc8f0e450e10d56b0d52978bf78c04ad87b659e3d50ca73f",
    "coder_of_the_tests.wnc": "52a4067a8fba978a1a1050ec22eb522ca918e6b27260c556c2df57c7ab61ffd2",
}


def test_every_golden_file_is_listed() -> None:
    assert {path.name for path in FOLDER.iterdir()} == RESTORED.keys()


@pytest.mark.parametrize("name", RESTORED)
def test_a_golden_file_is_restored(tmp_path: Path, name: str) -> None:
    task = FileTask(FOLDER / name, tmp_path / "restored", name, "restored")
    (result,) = decompress_files([task], find_deltas)
    assert isinstance(result, DecodedFile), result
    content = (tmp_path / "restored").read_bytes()
    assert hashlib.sha256(content).hexdigest() == RESTORED[name]


def test_the_page_of_the_format_has_the_dictionary() -> None:
    page = (ROOT / "docs/reference/compressed-format.md").read_text(encoding="utf-8")
    text = page.partition("```text\n")[2].partition("```")[0].replace("\n", "")
    assert text.encode() == compressed_header._DICTIONARY
