"""Fixtures: a folder of recordings, and blocks so small that a corpus has several shards."""

import pytest

from . import write_recordings

PATTERN = "{digit}_{speaker}_{take}"


@pytest.fixture
def folder(tmp_path):
    return write_recordings(tmp_path / "audio")


@pytest.fixture
def small_blocks(monkeypatch):
    """Limit blocks to six files."""
    monkeypatch.setattr("wavenet.corpus.file_listing.MAX_BLOCK_FILES", 6)
