"""A corpus is the same whoever made it, goes on where it was left, and leaves out what is bad."""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import torch

from audio_utils import analysis, io
from wavenet.corpus import crew, prepare, shards
from wavenet.corpus.format import Settings, read_report
from wavenet.corpus.listing import blocks, list_files
from wavenet.corpus.prepare import prepare as run
from wavenet.corpus.reading import Corpus
from wavenet.errors import ConfigError, DataError, FolderError, FolderInUse, WaveNetError
from wavenet.locks import hold

from . import RATE, content
from .conftest import PATTERN


def test_every_recording_comes_back_with_its_name_and_labels(folder, few, tmp_path):
    report = run(folder, tmp_path / "out", pattern=PATTERN, workers=2)
    corpus = Corpus(tmp_path / "out")
    paths = sorted(folder.rglob("*.wav"))
    assert [folder / name for name in corpus.names] == paths
    for n, path in enumerate(paths):
        assert np.array_equal(corpus.read(n), io.read(path).waveform.numpy())
        digit, speaker, take = path.stem.split("_")
        assert corpus.labels(n) == {"digit": digit, "speaker": speaker, "take": take}
    assert np.array_equal(corpus.read(7, 30, 90), corpus.read(7)[30:90])
    assert len(corpus.header.shards) == 4
    assert (report.files, report.readable, report.rates) == (20, 20, {RATE: 20})
    assert report.seconds == pytest.approx(sum(len(corpus.read(n)) for n in range(20)) / RATE)


def test_the_corpus_does_not_depend_on_the_workers(folder, few, tmp_path):
    for workers in (1, 3):
        run(folder, tmp_path / str(workers), pattern=PATTERN, workers=workers)
    assert content(tmp_path / "1") == content(tmp_path / "3")


def test_other_rates_channels_and_depths_are_brought_to_16_bits(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio/a.wav", rng.uniform(-1, 1, (900, 2)), 16_000, "FLOAT")
    soundfile.write(tmp_path / "audio/b.flac", rng.uniform(-1, 1, 900), RATE, "PCM_24")
    soundfile.write(tmp_path / "audio/c.wav", np.ones(900), RATE, "FLOAT")
    report = run(tmp_path / "audio", tmp_path / "out", sample_rate=RATE, workers=1)
    corpus = Corpus(tmp_path / "out")
    for n, name in enumerate(("a.wav", "b.flac", "c.wav")):
        whole = io.read(tmp_path / "audio" / name, RATE).waveform.numpy()
        assert np.abs(corpus.read(n) - whole).max() <= (1 if n == 2 else 0.5) / 32768
    assert corpus.read(2).max() == 32767 / 32768
    assert (report.rates, report.channels) == ({RATE: 2, 16_000: 1}, {1: 2, 2: 1})
    assert (report.clipped, report.clipped_count) == (("c.wav",), 1)


@pytest.mark.parametrize("samples", [1, 2, 3, 79, 80, 81, 1000])
def test_silence_and_clipping_are_those_of_a_report_on_a_folder(samples):
    generator = torch.Generator().manual_seed(samples)
    for scale in (1e-4, 1e-3, 1.5):
        waveform = (scale * torch.randn(samples, generator=generator)).clamp(-1, 1)
        waveform[samples // 2 :] *= 1e-4
        seconds = analysis.silent_fraction(waveform, RATE) * samples / RATE
        assert shards._silence(waveform.numpy(), RATE) == pytest.approx(seconds)
        for run_length in (2, 3):
            waveform[:run_length] = 1.0
            assert shards._is_clipped(waveform.numpy()) == analysis.is_clipped(waveform)


def test_bad_files_are_left_out_and_each_is_told_of(folder, few, tmp_path, monkeypatch):
    (folder / "a" / "0_x_0.wav").write_bytes(b"RIFF no")
    (folder / "b" / "1_x_folder.wav").mkdir()
    (folder / "b" / "2_x_loop.wav").symlink_to(folder / "b" / "2_x_loop.wav")
    (folder / "loop").symlink_to(folder)
    gone = folder / "b" / "2_x_gone.wav"
    gone.touch()
    listed = prepare.list_files

    def vanish(*arguments):
        listing = listed(*arguments)
        gone.unlink()
        return listing

    monkeypatch.setattr(prepare, "list_files", vanish)
    report = run(folder, tmp_path / "out", pattern=PATTERN, workers=2)
    assert (report.files, report.readable, report.unreadable_count) == (24, 20, 4)
    lines = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert tuple(lines) == report.unreadable
    for line, name in zip(lines, ("0_x_0", "1_x_folder", "2_x_gone", "2_x_loop"), strict=True):
        assert f"{name}.wav" in line
    # the others keep their places in the listing
    left_out = {*range(24)} - {*Corpus(tmp_path / "out").records["number"].tolist()}
    assert left_out == {4, 18, 22, 23}


def test_a_subfolder_that_is_closed_to_us_is_told_of(folder, tmp_path, monkeypatch):
    scan = os.scandir

    def closed(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", closed)
    report = run(folder, tmp_path / "out", workers=1)
    assert (report.readable, report.unreadable_count) == (10, 1)
    assert "/b cannot be read: permission denied" in report.unreadable[0]


def test_a_file_that_kills_who_reads_it_costs_that_file_alone(folder, few, tmp_path, monkeypatch):
    deadly = folder / "a" / "1_lucas_999.wav"
    deadly.touch()
    monkeypatch.setattr(crew, "_serve", _serve_with_a_deadly_file)
    report = run(folder, tmp_path / "out", workers=2)
    assert (report.readable, report.unreadable_count) == (20, 1)
    assert "1_lucas_999.wav ended the process that read it, twice" in report.unreadable[0]


def _serve_with_a_deadly_file(pipe, folder, settings, serve=crew._serve):
    decode_file = shards.decode_file
    shards.decode_file = lambda path, rate: (
        os._exit(9) if "999" in path.name else decode_file(path, rate)
    )
    serve(pipe, folder, settings)


def test_workers_that_cannot_begin_are_told_of(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "_serve", _die)
    with pytest.raises(WaveNetError, match="3 workers in a row ended as they began"):
        run(folder, tmp_path / "out", workers=1)


def _die(pipe, folder, settings):
    os._exit(9)


def test_what_is_whole_stays_and_what_is_damaged_or_changed_is_made_again(folder, few, tmp_path):
    out = tmp_path / "out"
    run(folder, out, pattern=PATTERN, workers=1)
    whole = content(out)
    stamps = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    damaged = min(stamps)
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(data)
    assert content(out) != whole
    run(folder, out, pattern=PATTERN, workers=1)
    assert content(out) == whole
    again = {path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert again == {damaged}
    # a recording that changed; one that is new comes last
    soundfile.write(min(folder.rglob("*.wav")), np.zeros(50), RATE)
    soundfile.write(folder / "z_z_z.wav", np.zeros(60), RATE)
    run(folder, out, pattern=PATTERN, workers=1)
    fresh = tmp_path / "fresh"
    run(folder, fresh, pattern=PATTERN, workers=1)
    assert content(out) == content(fresh) != whole
    assert {len(list((out / part).iterdir())) for part in ("shards", "parts")} == {4}


def test_labels_that_changed_are_read_anew(folder, tmp_path):
    table = folder / "metadata.csv"
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.wav"))]
    for value in "xy":
        table.write_text("file_name,tag\n" + "".join(f"{name},{value}\n" for name in names))
        run(folder, tmp_path / "out", workers=1)
        corpus = Corpus(tmp_path / "out")
        assert corpus.header.metadata == "metadata.csv"
        assert {corpus.labels(n)["tag"] for n in range(len(corpus))} == {value}


def test_rows_without_a_label_or_with_any_text_come_back(folder, tmp_path):
    texts = ["", "a\u2028b", "naïve", "\ud800", "x" * 300]
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.wav"))]
    rows = [{"file_name": name, "text": text} for name, text in zip(names, texts, strict=False)]
    rows += [{"file_name": names[5], "other": "1"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines)
    run(folder, tmp_path / "out", workers=1)
    corpus = Corpus(tmp_path / "out")
    assert [corpus.labels(n) for n in range(5)] == [{"text": text} for text in texts]
    assert corpus.labels(5) == {"other": "1"}


def test_other_settings_are_refused_unless_asked_for(folder, tmp_path):
    out = tmp_path / "out"
    run(folder, out, pattern=PATTERN, workers=1)
    before = content(out)
    with pytest.raises(ConfigError, match="begun with sample rate 8000, asked is 16000; choose"):
        run(folder, out, sample_rate=16_000, pattern=PATTERN)
    with pytest.raises(ConfigError, match=r"begun with pattern .*, asked is None"):
        run(folder, out)
    with pytest.raises(ConfigError, match="begun with source"):
        run(folder / "a", out, pattern=PATTERN)
    assert content(out) == before
    run(folder / "a", out, sample_rate=16_000, overwrite=True, workers=1)
    assert Corpus(out).header.sample_rate == 16_000
    assert len(Corpus(out)) == 10


def test_folders_that_cannot_be_used_are_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no audio"):
        run(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="is not a folder"):
        run(tmp_path / "none", tmp_path / "out")
    with pytest.raises(FolderError, match="holds something else, such as a; choose a new folder"):
        run(folder, folder)
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="cannot be used: not a directory"):
        run(folder, tmp_path / "file")
    for path in folder.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="has no recording that can be read"):
        run(folder, tmp_path / "out")
    with pytest.raises(DataError, match=r"leaves no recording; the first fault: .*a/0_"):
        run(folder, tmp_path / "out", sample_rate=RATE, workers=1)
    with pytest.raises(DataError, match="is not finished; run the same"):
        Corpus(tmp_path / "out")


def test_a_corpus_may_lie_inside_its_folder_and_is_no_part_of_it(folder):
    for _ in range(2):
        assert run(folder, folder / "corpus", workers=1).files == 20


def test_a_folder_that_another_process_prepares_is_refused(folder, tmp_path):
    with hold(tmp_path / "out"), pytest.raises(FolderInUse, match="is in use"):
        run(folder, tmp_path / "out")


def test_a_full_disk_ends_with_one_sentence(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "_serve", _serve_on_a_full_disk)
    with pytest.raises(FolderError, match=r"shards/.* cannot be written: the disk is full"):
        run(folder, tmp_path / "out", workers=1)
    monkeypatch.undo()
    assert run(folder, tmp_path / "out", workers=1).readable == 20


def _serve_on_a_full_disk(pipe, folder, settings, serve=crew._serve):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    shards.quantise = full
    serve(pipe, folder, settings)


def test_blocks_are_bounded_by_files_and_by_bytes(folder, monkeypatch):
    settings = Settings(source=str(folder), sample_rate=RATE)
    names = list_files(folder, None, None).names
    assert [len(block.names) for block in blocks(settings, names)] == [20]
    monkeypatch.setattr("wavenet.corpus.listing.BLOCK_BYTES", 3000)
    found = list(blocks(settings, names))
    assert [name for block in found for name in block.names] == names
    assert all(len(block.names) <= 3 for block in found)
    assert [block.first for block in found] == [names.index(block.names[0]) for block in found]


def test_the_report_lies_beside_the_corpus(folder, tmp_path):
    report = run(folder, tmp_path / "out", workers=1)
    assert read_report(tmp_path / "out") == report
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert len(Corpus(tmp_path / "moved")) == 20


def test_a_corpus_that_is_being_mended_cannot_be_opened(folder, few, tmp_path):
    out = tmp_path / "out"
    run(folder, out, workers=1)
    settings = Settings(source=str(folder), sample_rate=RATE)
    block = next(blocks(settings, list_files(folder, None, None).names))
    shards.make_shard(out, settings, block)
    assert len(Corpus(out)) == 20  # the control: it was whole
    (out / "parts" / "00000.json").unlink()
    shards.make_shard(out, settings, block)
    with pytest.raises(DataError, match="is not finished"):
        Corpus(out)
