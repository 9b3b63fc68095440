"""Preparing a corpus: independent of workers, resumable, without files that cannot be read."""

import io
import json
import os
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import soundfile
import torch

from audio_utils import analysis
from audio_utils import io as audio_io
from audio_utils.levels import SampleStatistics
from wavenet.corpus import prepare, shard_workers, shard_writer
from wavenet.corpus.file_listing import FileBlock, list_files, split_into_blocks
from wavenet.corpus.format import CorpusSettings, read_corpus_report
from wavenet.corpus.prepare import prepare_corpus
from wavenet.corpus.reader import Corpus
from wavenet.corpus.shard_workers import ShardQueue
from wavenet.errors import ConfigError, DataError, FolderError, FolderInUse, WaveNetError
from wavenet.folder_lock import lock_folder
from wavenet.progress import CallbackProgress, NoProgress

from . import RATE, corpus_hashes
from .conftest import PATTERN


def test_every_recording_is_reproduced_with_its_name_and_fields(folder, small_blocks, tmp_path):
    report = prepare_corpus(folder, tmp_path / "out", pattern=PATTERN, workers=2)
    corpus = Corpus(tmp_path / "out")
    paths = sorted(folder.rglob("*.wav"))
    assert [folder / name for name in corpus.names] == paths
    for n, path in enumerate(paths):
        assert np.array_equal(corpus.read(n), audio_io.read(path).waveform.numpy())
        digit, speaker, take = path.stem.split("_")
        assert corpus.fields(n) == {"digit": digit, "speaker": speaker, "take": take}
    assert np.array_equal(corpus.read(7, 30, 90), corpus.read(7)[30:90])
    assert len(corpus.header.shards) == 4
    assert (report.files, report.readable, report.rates) == (20, 20, {RATE: 20})
    assert report.seconds == pytest.approx(sum(len(corpus.read(n)) for n in range(20)) / RATE)


def test_the_corpus_does_not_depend_on_the_workers(folder, small_blocks, tmp_path):
    for workers in (1, 3):
        prepare_corpus(folder, tmp_path / str(workers), pattern=PATTERN, workers=workers)
    assert corpus_hashes(tmp_path / "1") == corpus_hashes(tmp_path / "3")


def test_other_rates_channels_and_depths_are_converted_to_16_bits(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio/a.wav", rng.uniform(-1, 1, (900, 2)), 16_000, "FLOAT")
    soundfile.write(tmp_path / "audio/b.flac", rng.uniform(-1, 1, 900), RATE, "PCM_24")
    soundfile.write(tmp_path / "audio/c.wav", np.ones(900), RATE, "FLOAT")
    report = prepare_corpus(tmp_path / "audio", tmp_path / "out", sample_rate=RATE, workers=1)
    corpus = Corpus(tmp_path / "out")
    for n, name in enumerate(("a.wav", "b.flac", "c.wav")):
        whole = audio_io.read(tmp_path / "audio" / name, RATE).waveform.numpy()
        assert np.abs(corpus.read(n) - whole).max() <= (1 if n == 2 else 0.5) / 32768
    assert corpus.read(2).max() == 32767 / 32768
    assert (report.rates, report.channels) == ({RATE: 2, 16_000: 1}, {1: 2, 2: 1})
    assert (report.clipped, report.clipped_count) == (("c.wav",), 1)


def measure(waveform):
    """Return the statistics of a waveform that arrives in blocks, as in a worker."""
    statistics = SampleStatistics(RATE)
    for block in waveform.split(50):
        statistics.add(block.numpy())
    return statistics


@pytest.mark.parametrize("samples", [1, 2, 3, 79, 80, 81, 1000])
def test_silence_and_clipping_are_measured_as_in_a_report_on_a_folder(samples):
    generator = torch.Generator().manual_seed(samples)
    for scale in (1e-4, 1e-3, 1.5):
        waveform = (scale * torch.randn(samples, generator=generator)).clamp(-1, 1)
        waveform[samples // 2 :] *= 1e-4
        seconds = analysis.silent_fraction(waveform, RATE) * samples / RATE
        assert measure(waveform).silent_seconds == pytest.approx(seconds)
        for run_length in (2, 3):
            waveform[:run_length] = 1.0
            assert measure(waveform).is_clipped == analysis.is_clipped(waveform)


def test_unreadable_files_are_left_out_and_reported(folder, small_blocks, tmp_path, monkeypatch):
    (folder / "a" / "0_x_0.wav").write_bytes(b"RIFF no")
    (folder / "b" / "1_x_folder.wav").mkdir()
    (folder / "b" / "2_x_loop.wav").symlink_to(folder / "b" / "2_x_loop.wav")
    (folder / "loop").symlink_to(folder)
    gone = folder / "b" / "2_x_gone.wav"
    gone.touch()
    list_files_before = prepare.list_files

    def list_and_remove(*arguments):
        listing = list_files_before(*arguments)
        gone.unlink()
        return listing

    monkeypatch.setattr(prepare, "list_files", list_and_remove)
    report = prepare_corpus(folder, tmp_path / "out", pattern=PATTERN, workers=2)
    assert (report.files, report.readable, report.unreadable_count) == (24, 20, 4)
    lines = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert tuple(lines) == report.unreadable
    for line, name in zip(lines, ("0_x_0", "1_x_folder", "2_x_gone", "2_x_loop"), strict=True):
        assert f"{name}.wav" in line
    # the others keep their indices in the listing
    left_out = {*range(24)} - {*Corpus(tmp_path / "out").records["number"].tolist()}
    assert left_out == {4, 18, 22, 23}


def test_a_subfolder_that_cannot_be_read_is_reported(folder, tmp_path, monkeypatch):
    scan = os.scandir

    def scan_or_refuse(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", scan_or_refuse)
    report = prepare_corpus(folder, tmp_path / "out", workers=1)
    assert (report.readable, report.unreadable_count) == (10, 1)
    assert "/b cannot be read: permission denied" in report.unreadable[0]


@pytest.mark.slow
def test_a_file_that_crashes_its_readers_is_skipped(folder, small_blocks, tmp_path, monkeypatch):
    (folder / "a" / "1_lucas_999.wav").touch()
    monkeypatch.setattr(shard_workers, "shard_worker_main", _serve_with_a_crashing_file)
    amounts, messages = [], []

    def open_progress(files):
        assert files == 21
        return nullcontext(CallbackProgress(amounts.append, messages.append))

    report = prepare_corpus(folder, tmp_path / "out", workers=2, open_progress=open_progress)
    assert (report.readable, report.unreadable_count) == (20, 1)
    assert "1_lucas_999.wav crashed two worker processes" in report.unreadable[0]
    # files that are read again are counted one time
    assert sum(amounts) == 21
    assert min(amounts) < 0
    assert len(messages) == 2


def _serve_with_a_crashing_file(pipe, folder, settings, serve=shard_workers.shard_worker_main):
    open_file = shard_writer.open_stream
    shard_writer.open_stream = lambda path, *arguments, **options: (
        os._exit(9) if "999" in path.name else open_file(path, *arguments, **options)
    )
    serve(pipe, folder, settings)


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_preparation(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_workers, "shard_worker_main", _die)
    with pytest.raises(WaveNetError, match=r"3 workers in a row .*exit 9"):
        prepare_corpus(folder, tmp_path / "out", workers=1)


def _die(pipe, folder, settings):
    os._exit(9)


def test_workers_that_die_before_the_first_file_end_the_preparation():
    queue = ShardQueue([FileBlock(0, 0, ["a.wav"], "")], NoProgress())
    task = queue.next_task()
    assert queue.handle_crash(task, 1)
    assert queue.handle_crash(task, 2)
    with pytest.raises(WaveNetError, match="3 workers died before they read a file"):
        queue.handle_crash(task, 3)


def test_only_damaged_or_changed_shards_are_written_again(folder, small_blocks, tmp_path):
    out = tmp_path / "out"
    prepare_corpus(folder, out, pattern=PATTERN, workers=1)
    before = corpus_hashes(out)
    stamps = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    damaged = min(stamps)
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(data)
    assert corpus_hashes(out) != before
    prepare_corpus(folder, out, pattern=PATTERN, workers=1)
    assert corpus_hashes(out) == before
    written = {path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert written == {damaged}
    # a changed recording, and a new one, which is the last
    soundfile.write(min(folder.rglob("*.wav")), np.zeros(50), RATE)
    soundfile.write(folder / "z_z_z.wav", np.zeros(60), RATE)
    prepare_corpus(folder, out, pattern=PATTERN, workers=1)
    fresh = tmp_path / "fresh"
    prepare_corpus(folder, fresh, pattern=PATTERN, workers=1)
    assert corpus_hashes(out) == corpus_hashes(fresh) != before
    assert {len(list((out / part).iterdir())) for part in ("shards", "parts")} == {4}


def test_changed_fields_are_read_again(folder, tmp_path):
    table = folder / "metadata.csv"
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.wav"))]
    for value in "xy":
        table.write_text("file_name,tag\n" + "".join(f"{name},{value}\n" for name in names))
        prepare_corpus(folder, tmp_path / "out", workers=1)
        corpus = Corpus(tmp_path / "out")
        assert corpus.header.metadata == "metadata.csv"
        assert {corpus.fields(n)["tag"] for n in range(len(corpus))} == {value}


def test_missing_fields_and_any_text_are_reproduced(folder, tmp_path):
    texts = ["", "a\u2028b", "naïve", "\ud800", "x" * 300]
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.wav"))]
    rows = [{"file_name": name, "text": text} for name, text in zip(names, texts, strict=False)]
    rows += [{"file_name": names[5], "other": "1"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines)
    prepare_corpus(folder, tmp_path / "out", workers=1)
    corpus = Corpus(tmp_path / "out")
    assert [corpus.fields(n) for n in range(5)] == [{"text": text} for text in texts]
    assert corpus.fields(5) == {"other": "1"}


def test_other_settings_need_overwrite(folder, tmp_path):
    out = tmp_path / "out"
    prepare_corpus(folder, out, pattern=PATTERN, workers=1)
    before = corpus_hashes(out)
    with pytest.raises(ConfigError, match="prepared with sample rate 8000, not 16000; choose"):
        prepare_corpus(folder, out, sample_rate=16_000, pattern=PATTERN)
    with pytest.raises(ConfigError, match=r"prepared with pattern .*, not None"):
        prepare_corpus(folder, out)
    with pytest.raises(ConfigError, match="prepared with source"):
        prepare_corpus(folder / "a", out, pattern=PATTERN)
    assert corpus_hashes(out) == before
    prepare_corpus(folder / "a", out, sample_rate=16_000, overwrite=True, workers=1)
    assert Corpus(out).header.sample_rate == 16_000
    assert len(Corpus(out)) == 10


def test_folders_that_cannot_be_used_are_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no audio"):
        prepare_corpus(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="is not a folder"):
        prepare_corpus(tmp_path / "none", tmp_path / "out")
    with pytest.raises(FolderError, match="contains other files, such as a; choose a new folder"):
        prepare_corpus(folder, folder)
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="cannot be used: not a directory"):
        prepare_corpus(folder, tmp_path / "file")
    for path in folder.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="has no readable recording"):
        prepare_corpus(folder, tmp_path / "out")
    with pytest.raises(DataError, match=r"no file of .* can be read; the first error: .*a/0_"):
        prepare_corpus(folder, tmp_path / "out", sample_rate=RATE, workers=1)
    with pytest.raises(DataError, match="is not finished; run the same"):
        Corpus(tmp_path / "out")


def test_a_corpus_inside_its_source_is_not_part_of_it(folder):
    for _ in range(2):
        assert prepare_corpus(folder, folder / "corpus", workers=1).files == 20


def test_a_corpus_that_another_process_prepares_is_refused(folder, tmp_path):
    with lock_folder(tmp_path / "out"), pytest.raises(FolderInUse, match="is in use"):
        prepare_corpus(folder, tmp_path / "out")


def test_a_full_disk_is_one_sentence_and_the_preparation_resumes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_workers, "shard_worker_main", _serve_on_a_full_disk)
    with pytest.raises(FolderError, match=r"shards/.* cannot be written: the disk is full"):
        prepare_corpus(folder, tmp_path / "out", workers=1)
    monkeypatch.undo()
    assert prepare_corpus(folder, tmp_path / "out", workers=1).readable == 20


def _serve_on_a_full_disk(pipe, folder, settings, serve=shard_workers.shard_worker_main):
    class FileOnAFullDisk(io.BytesIO):
        def write(self, content):
            raise OSError(28, "No space left on device")

    output = shard_writer._ShardOutput
    shard_writer._ShardOutput = lambda file, path: output(FileOnAFullDisk(), path)
    serve(pipe, folder, settings)


def test_blocks_are_bounded_by_files_and_by_bytes(folder, monkeypatch):
    settings = CorpusSettings(source=str(folder), sample_rate=RATE)
    names = list_files(folder, None, None).paths
    assert [len(block.paths) for block in split_into_blocks(settings, names)] == [20]
    monkeypatch.setattr("wavenet.corpus.file_listing.MAX_BLOCK_BYTES", 3000)
    blocks = list(split_into_blocks(settings, names))
    assert [name for block in blocks for name in block.paths] == names
    assert all(len(block.paths) <= 3 for block in blocks)
    assert [block.first for block in blocks] == [names.index(block.paths[0]) for block in blocks]


def test_the_report_moves_with_the_corpus(folder, tmp_path):
    report = prepare_corpus(folder, tmp_path / "out", workers=1)
    assert read_corpus_report(tmp_path / "out") == report
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert len(Corpus(tmp_path / "moved")) == 20


def test_a_corpus_cannot_be_opened_while_a_shard_is_rewritten(folder, small_blocks, tmp_path):
    out = tmp_path / "out"
    prepare_corpus(folder, out, workers=1)
    settings = CorpusSettings(source=str(folder), sample_rate=RATE)
    block = next(split_into_blocks(settings, list_files(folder, None, None).paths))
    shard_writer.write_shard(out, settings, block)
    assert len(Corpus(out)) == 20  # control: it was complete
    (out / "parts" / "00000.json").unlink()
    shard_writer.write_shard(out, settings, block)
    with pytest.raises(DataError, match="is not finished"):
        Corpus(out)


def test_a_file_that_ends_early_leaves_nothing_in_its_shard(tmp_path):
    """The error is found after the first blocks of the file have been written."""
    noise = np.random.default_rng(0).integers(-9000, 9000, 200_000, dtype=np.int16)
    (tmp_path / "audio").mkdir()
    for name in "ac":
        soundfile.write(tmp_path / "audio" / f"{name}.wav", noise[:1000], RATE)
    values = noise / np.float32(32_768)
    values[150_000] = np.nan
    soundfile.write(tmp_path / "audio" / "b.wav", values, RATE, subtype="FLOAT")
    report = prepare_corpus(tmp_path / "audio", tmp_path / "out", workers=1)
    assert (report.readable, report.unreadable_count) == (2, 1)
    corpus = Corpus(tmp_path / "out")
    assert [str(name) for name in corpus.names] == ["a.wav", "c.wav"]
    for n in range(2):
        assert np.array_equal(corpus.read(n) * 32_768, noise[:1000])
    # the shard is complete: the same command writes nothing
    before = corpus_hashes(tmp_path / "out")
    prepare_corpus(tmp_path / "audio", tmp_path / "out", workers=1)
    assert corpus_hashes(tmp_path / "out") == before


def test_a_corpus_of_an_earlier_version_is_read_and_resumed(folder, tmp_path):
    """Its files have no channel, no normalize and no levels."""
    out = tmp_path / "out"
    report = prepare_corpus(folder, out, workers=1)
    shards = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    for path in (out / "settings.json", out / "corpus.json", out / "report.json"):
        content = json.loads(path.read_text())
        for name in ("channel", "normalize", "levels"):
            content.pop(name, None)
        path.write_text(json.dumps(content))
    for path in (out / "parts").iterdir():
        content = json.loads(path.read_text())
        del content["levels"]
        path.write_text(json.dumps(content))
    assert len(Corpus(out)) == 20
    assert read_corpus_report(out).readable == 20
    again = prepare_corpus(folder, out, workers=1)
    assert again.readable == report.readable
    assert {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == shards
    with pytest.raises(ConfigError, match="prepared with channel mix, not left"):
        prepare_corpus(folder, out, workers=1, channel="left")


def test_the_rate_of_most_recordings_is_chosen_and_said(tmp_path):
    """Regression: the first recording decided, so that one file changed the whole corpus."""
    (tmp_path / "audio").mkdir()
    for n, rate in enumerate((48_000, 16_000, 8_000, 16_000, 8_000)):
        soundfile.write(tmp_path / f"audio/{n}.wav", np.zeros(rate // 10), rate)
    (tmp_path / "audio/broken.wav").write_bytes(b"RIFF no")
    messages: list[str] = []
    report = prepare_corpus(
        tmp_path / "audio", tmp_path / "out", workers=1, on_message=messages.append
    )
    assert Corpus(tmp_path / "out").header.sample_rate == 8_000  # the lower of the two
    assert report.rates == {8_000: 2, 16_000: 2, 48_000: 1}
    (message,) = messages
    for words in (
        "8000 Hz (2), 16000 Hz (2), 48000 Hz (1)",
        "converted to 8000 Hz",
        "--sample-rate",
    ):
        assert words in message
    # more recordings of another rate do not change a corpus that exists
    soundfile.write(tmp_path / "audio/5.wav", np.zeros(1_600), 16_000)
    prepare_corpus(tmp_path / "audio", tmp_path / "out", workers=1, on_message=messages.append)
    assert Corpus(tmp_path / "out").header.sample_rate == 8_000
    assert len(messages) == 1
    prepare_corpus(tmp_path / "audio", tmp_path / "new", workers=1, on_message=messages.append)
    assert Corpus(tmp_path / "new").header.sample_rate == 16_000


def test_the_rate_of_very_many_recordings_is_estimated(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "MAX_EXAMINED_RATES", 5)
    opened = []
    monkeypatch.setattr(prepare, "_read_rate", lambda path: opened.append(path) or RATE)
    prepare_corpus(folder, tmp_path / "out", workers=1)
    paths = sorted(folder.rglob("*.wav"))
    assert opened == paths[::4]


def test_a_corpus_reports_the_files_that_it_leaves_out(folder, tmp_path):
    (folder / "a" / "x.tta").touch()
    (folder / "b" / "._x.wav").touch()
    (folder / "b" / "one_two.wav").touch()
    (folder / "b" / os.fsdecode(b"\xff.tta")).touch()
    report = prepare_corpus(folder, tmp_path / "out", pattern=PATTERN, workers=1)
    assert [(group.reason, group.count, group.is_audio) for group in report.left_out] == [
        ("in a format that is not read (.tta)", 2, True),
        ("the name does not fit the pattern", 1, True),
        ("hidden", 1, False),
    ]
    assert report.left_out[0].names == ("a/x.tta", "b/\\udcff.tta")
    assert read_corpus_report(tmp_path / "out") == report


def test_a_table_in_a_subfolder_is_found_again(folder, tmp_path):
    """Regression: only its name was stored, so the same command looked for it elsewhere."""
    (folder / "meta").mkdir()
    (folder / "meta/t.csv").write_text("file_name,v\n../a/0_theo_000.wav,1\n")
    for _ in range(2):
        prepare_corpus(folder, tmp_path / "out", metadata="meta/t.csv", workers=1)
        corpus = Corpus(tmp_path / "out")
        assert (corpus.header.metadata, corpus.fields(0)) == ("meta/t.csv", {"v": "1"})


def test_notes_on_containers_are_in_the_report_of_a_corpus(tmp_path):
    """Regression: a recording with a wrong size in its header was read without a note."""
    (tmp_path / "audio").mkdir()
    for name in "ab":
        soundfile.write(tmp_path / "audio" / f"{name}.wav", np.zeros(800), RATE)
    content = bytearray((tmp_path / "audio/a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4  # no length, as in a file written to a pipe
    (tmp_path / "audio/a.wav").write_bytes(content)
    levels = prepare_corpus(tmp_path / "audio", tmp_path / "out", workers=1).levels
    assert (levels.odd_count, [name[:6] for name in levels.odd]) == (1, ["a.wav:"])
