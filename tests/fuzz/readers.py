"""All readers of files and of texts from outside, each with valid content to be damaged.

A `Target` writes its content where the reader expects it, and calls the reader. The seeds are made
by the program itself, so that most damaged files are still read to a late stage.
"""

import hashlib
import io as memory
import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
import soundfile
import torch

from audio_utils import io
from audio_utils.errors import AudioError
from tests.compression.audio_files import (
    SHA256,
    DeltaCoder,
    chunk,
    find_deltas,
    make_samples,
    make_wav,
)
from tests.compression.test_damaged_files import join
from tests.conftest import RATE, sine, tiny_config, tiny_model
from tests.corpus import write_recordings
from tests.effects.random_effects import EFFECTS
from tests.effects.random_pedal import make_document, make_tensors
from tests.importing import r9_settings, r9_tensors, vh_tensors
from tests.speech.speech_files import HEADER, make_clip, write_speech
from tests.training import initial_state, make_settings
from wavenet import checkpoint
from wavenet.autoencoder.autoencoder_folder import load_autoencoder, save_autoencoder
from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig, MelAutoencoder
from wavenet.batch.batch_config import BatchOptions, BatchSettings, ExecutionConfig
from wavenet.batch.clip_storage import open_remote_storage
from wavenet.batch.journal import Journal
from wavenet.batch.manifest_check import check_manifest
from wavenet.batch.output_names import check_output_name, fill_template
from wavenet.checkpoint import CALIBRATION, CARD, CONFIG, AudioConfig, CheckpointConfig
from wavenet.cli.batch_options import parse_batch_size, parse_shard
from wavenet.cli.options import parse_condition_values
from wavenet.codec import MuLawCodec
from wavenet.compression.blocks import Block, BlockCoder, BlockForm
from wavenet.compression.compress_files import CompressedFile, CompressionSettings, compress_files
from wavenet.compression.compressed_file import parse_numbers
from wavenet.compression.compressor_folder import load_block_coder, load_compressor
from wavenet.compression.decode_files import DecodedFile, decompress_files, read_header
from wavenet.compression.file_task import FailedFile, FileTask
from wavenet.compression.pcm_container import MAGIC
from wavenet.corpus.format import read_corpus_report, read_shard_summary
from wavenet.corpus.prepare import prepare_corpus
from wavenet.corpus.reader import Corpus
from wavenet.detection.calibration import (
    SurpriseCalibration,
    WindowThresholds,
    read_calibration,
    write_calibration,
)
from wavenet.effects.nam_file import read_nam
from wavenet.effects.pedalnet_file import read_pedalnet
from wavenet.errors import CompressedFileError, WaveNetError
from wavenet.importing import r9y9, vincentherrmann
from wavenet.model.conditions import MelCondition
from wavenet.model.frame_features import compute_frame_features, read_array
from wavenet.recordings.audio_metadata import is_audio_name, parse_file_name, read_metadata
from wavenet.sharing import hub
from wavenet.sharing.card_reader import get_licence, read_card, render_html
from wavenet.sharing.zip_archive import pack, unpack
from wavenet.speech.alignment_file import FailedClip, read_alignment, write_alignment
from wavenet.speech.speech_corpus import METADATA, list_clips
from wavenet.training import run_process, snapshots
from wavenet.training.metrics_history import MetricsHistory
from wavenet.training.recipe import load_recipe
from wavenet.training.run_status import read_status
from wavenet.ui.generate.share_settings import read_link
from wavenet.ui.receptive_field.network_settings import read_dilations
from wavenet.ui.server.uploads import resolve_served_file, upload_path
from wavenet.weights_file import WEIGHTS

# those of these formats that the project reads
FORMATS = ("wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64")
AUDIO_SUFFIXES = [suffix for suffix in FORMATS if is_audio_name(f"a.{suffix}")]
ERRORS = (WaveNetError, AudioError, gr.Error)
CODES = MuLawCodec()
MAX_BLOCK = 20_000  # samples; a damaged header may declare a block that takes minutes


@dataclass(frozen=True)
class Target:
    """A reader and valid content.

    Attributes:
        seeds: valid contents.
        read: receives an empty folder and the content.
    """

    seeds: tuple[bytes, ...]
    read: Callable[[Path, bytes], object]


def make_targets(folder: Path) -> dict[str, Target]:
    """Write the seeds of all readers, and return the readers by name."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        **_audio_targets(),
        **_checkpoint_targets(folder / "checkpoint"),
        **_autoencoder_targets(folder / "autoencoder"),
        **_table_targets(folder / "tables"),
        **_training_targets(folder / "training"),
        **_corpus_targets(folder / "corpus"),
        **_speech_targets(folder / "speech"),
        **_compression_targets(),
        **_import_targets(folder / "imported"),
        **_effect_targets(),
        **_text_targets(),
    }


def _file_target(name: str, read: Callable[[Path], object], *seeds: bytes) -> Target:
    """Return a target that writes one file and reads it."""

    def run(folder: Path, content: bytes) -> object:
        (folder / name).write_bytes(content)
        return read(folder / name)

    return Target(seeds, run)


def _folder_target(source: Path, name: str, read: Callable[[Path], object]) -> Target:
    """Return a target that replaces one file of a copied folder."""

    def run(folder: Path, content: bytes) -> object:
        copy = folder / source.name
        shutil.copytree(source, copy)
        (copy / name).write_bytes(content)
        return read(copy)

    return Target(((source / name).read_bytes(),), run)


def _text_target(read: Callable[[str], object], *seeds: str) -> Target:
    return Target(
        tuple(seed.encode() for seed in seeds),
        lambda _, content: read(content.decode("utf-8", "surrogateescape")),
    )


def _audio_targets() -> dict[str, Target]:
    targets = {}
    for suffix in AUDIO_SUFFIXES:
        buffer = memory.BytesIO()
        soundfile.write(buffer, sine(0.1).numpy(), RATE, format=suffix.upper())
        targets[f"audio {suffix}"] = _file_target(
            f"a.{suffix}", lambda path: io.read(path, RATE), buffer.getvalue()
        )
    return targets


def _autoencoder_targets(folder: Path) -> dict[str, Target]:
    mel = MelCondition(n_mels=4, win_length=160)
    sizes = {"sample_rate": RATE, "hop": 80, "mel": mel, "channels": 4, "blocks": 1}
    save_autoencoder(folder, MelAutoencoder(AutoencoderConfig(name="small", **sizes)))
    return {
        f"autoencoder {name}": _folder_target(folder, name, load_autoencoder)
        for name in (CONFIG, WEIGHTS)
    }


def _save_checkpoint(folder: Path) -> Path:
    config = tiny_config(1, (1,), hop=80).model_copy(
        update={"conditions": (MelCondition(n_mels=20, channels=4, context=1),)}
    )
    audio = AudioConfig(sample_rate=RATE)
    checkpoint_config = CheckpointConfig(name="tiny", audio=audio, codec=CODES, model=config)
    checkpoint.save(folder, checkpoint_config, tiny_model(config, 8))
    (folder / CARD).write_text(
        "---\nlicense: mit\n---\n# tiny\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    found = SurpriseCalibration(
        weights_sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        sample_rate=RATE,
        hours=0.5,
        recordings=3,
        false_alarms_per_hour=(1000.0, 10.0),
        windows=(WindowThresholds(seconds=0.01, thresholds=(1.0, 2.0), scale=0.5),),
    )
    write_calibration(folder, found)
    return folder


def _read_thresholds(folder: Path) -> object:
    return read_calibration(checkpoint.load(folder)).thresholds(60)


def _read_card(folder: Path) -> None:
    text = read_card(folder)
    get_licence(text)
    render_html(text)


def _checkpoint_targets(folder: Path) -> dict[str, Target]:
    saved = _save_checkpoint(folder / "tiny")
    pack(saved, folder / "tiny.zip")
    compressed = memory.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_LZMA) as archive:
        for name in (CONFIG, WEIGHTS):
            archive.write(saved / name, name)
    zips = (folder / "tiny.zip").read_bytes(), compressed.getvalue()
    loaded = checkpoint.load(saved)

    def read_frames(path: Path) -> object:
        return compute_frame_features(loaded.config.model, RATE, None, {"mel": read_array(path)})

    arrays = []
    for dtype in ("f4", "f8", "i2"):
        buffer = memory.BytesIO()
        np.save(buffer, np.full((5, 20), -40, dtype))
        arrays.append(buffer.getvalue())
    return {
        "zip": _file_target("a.zip", lambda path: unpack(path, path.parent / "root"), *zips),
        "config": _folder_target(saved, CONFIG, checkpoint.load),
        "weights": _folder_target(saved, WEIGHTS, checkpoint.load),
        "card": _folder_target(saved, CARD, _read_card),
        "calibration": _folder_target(saved, CALIBRATION, _read_thresholds),
        "npy": _file_target("a.npy", read_frames, *arrays),
    }


ROWS = [{"id": "a", "seed": 1, "seconds": 0.1, "digit": "a", "temperature": 0.9, "output": "x/y"}]
MANIFESTS = {
    "jsonl": "\n".join(map(json.dumps, [*ROWS, {"id": "b", "labels": {"digit": "b"}}])),
    "csv": "id,digit,seed\na,a,1\nb,b,2\n",
    "tsv": "id\tdigit\ttop_k\na\ta\t10\nb\tb\t\n",
}
TABLES = {
    "csv": "file_name,speaker,text\na.wav,theo,one\nb.wav,lucas,two\n",
    "jsonl": '{"file_name": "a.wav", "speaker": "theo"}\n{"file_name": "b.wav", "take": 2}\n',
    "txt": "LJ001|one, two|one two\nLJ002|three|three\n",
}


def _table_targets(folder: Path) -> dict[str, Target]:
    audio = AudioConfig(sample_rate=RATE)
    config = CheckpointConfig(name="tiny", audio=audio, codec=CODES, model=tiny_config())
    checkpoint.save(folder, config, tiny_model(tiny_config(), 8))

    def read_manifest(path: Path) -> object:
        settings = BatchSettings(str(folder), str(path.parent))
        options = BatchOptions(skip_invalid=True)
        return check_manifest(path, settings, options, ExecutionConfig(path.parent / "out"))

    def read_journal(path: Path) -> None:
        with Journal(path.parent) as journal:
            journal.find_finished("a", "00" * 32)
            journal.append({"id": "z", "status": "failed"})

    record = {"id": "a", "status": "done", "params_hash": "00" * 32, "sha256": "11" * 32}
    lines = json.dumps(record | {"bytes": 7}) + "\n" + json.dumps({"id": None, "line": 3}) + "\n"
    targets = {
        f"manifest {kind}": _file_target(f"m.{kind}", read_manifest, text.encode())
        for kind, text in MANIFESTS.items()
    }
    targets |= {
        f"metadata {kind}": _file_target(
            f"metadata.{'csv' if kind == 'txt' else kind}", read_metadata, text.encode()
        )
        for kind, text in TABLES.items()
    }
    targets["journal"] = _file_target("results.jsonl", read_journal, lines.encode())
    return targets


def _training_targets(folder: Path) -> dict[str, Target]:
    state, settings = initial_state(), make_settings()
    state.initialize_optimizers()
    state.step = 3
    snapshots.save(folder / "run", state, settings)
    saved = folder / "run" / "step-000000003"
    plan = run_process.RunPlan(name="first", steps=10).model_dump_json()
    control = run_process.RunControl(action="pause", pid=1, started=1.0).model_dump_json()
    point = {"step": 1, "loss_bits": 5.0, "samples": 100, "samples_per_second": 9.0}
    record = json.dumps(point | {"bits_per_sample": 4.0})
    metrics = f"{record}\n{record.replace(': 1,', ': 2,')}\n".encode()
    (folder / "status").mkdir()
    for name, text in {
        "run.json": plan,
        "control.json": control,
        "run.log": "a\nwavenet: b\n",
    }.items():
        (folder / "status" / name).write_text(text)
    (folder / "status" / "metrics.jsonl").write_bytes(metrics)

    def load(path: Path) -> None:
        snapshots.load(path, initial_state(), settings)

    def resume(path: Path) -> None:
        snapshots.MetricsFile(path, 1)
        MetricsHistory(path).read()

    targets = {
        f"status {name}": _folder_target(folder / "status", name, read_status)
        for name in ("run.json", "control.json", "run.log", "metrics.jsonl")
    }
    recipes = [path.read_bytes() for path in sorted(run_process.BUILT_IN.glob("*.toml"))]
    return {
        **targets,
        "snapshot state": _folder_target(saved, "state.json", load),
        "snapshot tensors": _folder_target(saved, "state.safetensors", load),
        "metrics": _file_target("metrics.jsonl", resume, metrics),
        "recipe": _file_target("a.toml", lambda path: load_recipe(str(path)), *recipes),
    }


def _corpus_targets(folder: Path) -> dict[str, Target]:
    source = write_recordings(folder / "audio")
    made = folder / "made"
    prepare_corpus(source, made, sample_rate=RATE, pattern="{digit}_{speaker}_{take}", workers=1)

    def read(path: Path) -> None:
        read_corpus_report(path)
        for summary in (path / "blocks").glob("*.json"):
            read_shard_summary(path, int(summary.stem), "")
        corpus = Corpus(path)
        for n in range(len(corpus)):
            corpus.fields(n)
            corpus.read(n)

    files = [path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()]
    chosen = [name for name in sorted(files) if name.endswith((".json", ".npy"))]
    return {f"corpus {name}": _folder_target(made, name, read) for name in chosen}


def _speech_targets(folder: Path) -> dict[str, Target]:
    source = write_speech(folder / "voice")
    header = HEADER.model_copy(update={"clips": 1})
    write_alignment(folder / "a.jsonl", header, [make_clip(), FailedClip(id="b", error="x")])
    content = (folder / "a.jsonl").read_bytes()
    return {
        "alignment": _file_target("a.jsonl", read_alignment, content),
        "speech table": _folder_target(source, METADATA, list_clips),
    }


def _compression_targets() -> dict[str, Target]:
    """Return the decoder: as it is, with correct checksums, and its payloads by themselves."""
    network, mono = load_compressor(), make_samples(1, 400)
    stereo = make_wav(make_samples(2, 300, 24), 24, after=chunk(b"LIST", b"abc"))
    settings = CompressionSettings(block_seconds=0.1)
    seeds = []
    for content, coder in (
        (make_wav(mono), network),
        (stereo, load_compressor(adapts=False)),
        (make_wav(mono), DeltaCoder()),
        (stereo, None),
    ):
        packed = memory.BytesIO()
        (result,) = compress_files(
            [FileTask(memory.BytesIO(content), packed, "a", "b")], coder, settings
        )
        assert isinstance(result, CompressedFile), result
        seeds.append(packed.getvalue())
    payloads = network.encode([Block(mono.astype(np.int32), 16)])

    def read_payload(folder: Path, content: bytes) -> object:
        return network.decode([content], [BlockForm(1, 400, 16)])

    return {
        "compressed": _file_target("a.wnc", _decompress, *seeds, seeds[0] + seeds[2] + seeds[0]),
        "compressed, repaired": Target(tuple(seeds), _decompress_repaired),
        "payload": Target(tuple(payloads), read_payload),
    }


def _decompress(path: Path) -> None:
    """Decompress a file, and recover what is whole; raise the error of the first."""
    with suppress(CompressedFileError):
        if read_header(path).block_samples > MAX_BLOCK:
            raise AudioError("a block would take too long")

    def find_coder(sha256: str) -> BlockCoder:
        return find_deltas(sha256) if SHA256.startswith(sha256) else load_block_coder(sha256)

    results = []
    for target, recover in ((path.with_name("a.wav"), False), (path.with_name("b.wav"), True)):
        task = FileTask(path, target, path.name, target.name)
        (result,) = decompress_files([task], find_coder, recover=recover)
        assert target.exists() == isinstance(result, DecodedFile)
        results.append(result)
    if isinstance(results[0], FailedFile):
        raise CompressedFileError(results[0].error)


def _decompress_repaired(folder: Path, content: bytes) -> None:
    """Decompress a file whose checksums are made correct, so that other checks are reached."""
    records, at = [], len(MAGIC)
    while (length := parse_numbers(content[at + 1 : at + 5], 1)) is not None:
        start = at + 1 + length[1]
        end = start + length[0][0]
        records.append((content[at : at + 1], content[start:end]))
        at = end + 4
    (folder / "a.wnc").write_bytes(join(records))
    _decompress(folder / "a.wnc")


def _import_targets(folder: Path) -> dict[str, Target]:
    folder.mkdir()
    settings = r9_settings(upsample_params={"mode": "bilinear"})
    files = {"r9.pth": {"state_dict": r9_tensors(settings)}, "vh.pt": vh_tensors(layers=2)}
    for name, content in files.items():
        torch.save(content, folder / name)
    (folder / "hparams.json").write_text(json.dumps(settings))

    def read_r9y9(path: Path) -> object:
        return r9y9.import_model(path / "r9.pth", path / "hparams.json", "x", True)

    def read_vincentherrmann(path: Path) -> object:
        return vincentherrmann.import_model(path / "vh.pt", "x", True, RATE)

    return {
        "r9y9 weights": _folder_target(folder, "r9.pth", read_r9y9),
        "r9y9 hparams": _folder_target(folder, "hparams.json", read_r9y9),
        "vincentherrmann": _folder_target(folder, "vh.pt", read_vincentherrmann),
    }


def _effect_targets() -> dict[str, Target]:
    names = ("legacy gated", "everything", "series in a container", "LSTM")
    nam = [json.dumps(EFFECTS[name]).encode() for name in names]
    pedal = json.dumps(make_document(make_tensors())).encode()
    return {
        "nam": _file_target("a.nam", read_nam, *nam),
        "pedalnet": _file_target("a.json", read_pedalnet, pedal),
    }


def _read_pattern(text: str) -> object:
    pattern, _, name = text.partition(" ")
    return parse_file_name(pattern, name)


def _text_targets() -> dict[str, Target]:
    fields = {"id": "a", "seed": "1", "ext": "wav"}
    link = "checkpoint=digits&seed=3&temperature=0.9&condition.digit=7"
    url = "http://127.0.0.1/gradio_api/file=/tmp/gradio/a.wav"
    return {
        "pattern": _text_target(_read_pattern, "{digit}_{speaker}_{take} 7_theo_1"),
        "link": _text_target(read_link, link),
        "repository": _text_target(hub._check_name, "owner/name"),
        "upload": _text_target(lambda text: upload_path({"path": text}), "/tmp/gradio/a/b.wav"),
        "served file": _text_target(lambda text: resolve_served_file(text), url),
        "dilations": _text_target(read_dilations, "1, 2, 4, 8"),
        "output name": _text_target(check_output_name, "folder/name.wav"),
        "template": _text_target(lambda text: fill_template(text, fields), "{id}_{seed}.{ext}"),
        "storage": _text_target(open_remote_storage, "memory://bucket/clips"),
        "shard": _text_target(parse_shard, "1/4"),
        "batch size": _text_target(parse_batch_size, "16"),
        "assignment": _text_target(lambda text: parse_condition_values([text]), "digit=7"),
    }
