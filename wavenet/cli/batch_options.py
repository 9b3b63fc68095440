"""The options of `wavenet batch`, in groups, and their conversion to a configuration.

Input: values of options. Output: the dataclasses of `batch.batch_config`, or an error that names
the option. Called by `batch_command`.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.clip_generation import GuardOption
from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    NORMALIZE_HELP,
    AutoPrecisionOption,
    ChannelChoice,
    ChannelOption,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    FramesScaleOption,
    GreedyOption,
    GuidanceOption,
    JsonOption,
    QuietOption,
    SeedOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
)
from wavenet.errors import ConfigError

if TYPE_CHECKING:
    from wavenet.batch.batch_config import BatchOptions, BatchSettings, ExecutionConfig
    from wavenet.batch.manifest import ManifestShard

FORMATS = ("wav", "flac", "ogg", "mp3")
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")
NORMALIZATIONS = ("none", "peak", "lufs")


# The first line of each docstring is the title of a group of options in --help.


@dataclass(frozen=True)
class ClipOptions:
    """Default settings of the clips; columns of the manifest override them."""

    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", "-t", help="Length in seconds; default: that of the checkpoint."),
    ] = None
    seed: SeedOption = 0
    temperature: TemperatureOption = None
    top_k: TopKOption = None
    top_p: TopPOption = None
    greedy: GreedyOption = None
    guidance: GuidanceOption = None
    frames_scale: FramesScaleOption = None
    precision: AutoPrecisionOption = "auto"
    guard: GuardOption = True
    channel: ChannelOption = ChannelChoice.MIX
    normalize_inputs: Annotated[bool, typer.Option("--normalize-inputs", help=NORMALIZE_HELP)] = (
        False
    )

    def sampling(self) -> dict[str, Any]:
        """Return the sampling settings that the user set, by name."""
        names = ("temperature", "top_k", "top_p", "greedy", "guidance")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class FileOptions:
    """Files."""

    out_dir: Annotated[
        str,
        typer.Option(
            "--out-dir",
            "-o",
            help="Folder for clips and results.jsonl, or a URL (s3://bucket/clips).",
        ),
    ] = "clips"
    journal_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder for results.jsonl if --out-dir is a URL; default: beside the manifest."
        ),
    ] = None
    name_template: Annotated[
        str,
        typer.Option(
            help="File names: {id}, {seed}, {ext}, {line}, {checkpoint}, condition names."
        ),
    ] = "{id}_{seed}.{ext}"
    format_: Annotated[str, typer.Option("--format", help="wav, flac, ogg or mp3.")] = "wav"
    subtype: Annotated[str, typer.Option(help="PCM_16, PCM_24, or FLOAT (wav only).")] = "PCM_16"
    normalize: Annotated[str, typer.Option(help="Loudness: none, peak (-1 dBFS) or lufs.")] = "none"
    target_lufs: Annotated[
        float | None,
        typer.Option(min=-70, max=0, help="Loudness for --normalize lufs, in LUFS; default: -23."),
    ] = None

    def check(self) -> None:
        """Check the options before any work.

        Raises:
            ConfigError: an unknown value, or two that contradict each other.
            ConditionError: the template ends in the suffix of another format.
        """
        for option, value, choices in (
            ("--format", self.format_, FORMATS),
            ("--subtype", self.subtype, SUBTYPES),
            ("--normalize", self.normalize, NORMALIZATIONS),
        ):
            if value not in choices:
                raise ConfigError(f"{option} must be {', '.join(choices)}; found {value!r}")
        if self.subtype == "FLOAT" and self.format_ != "wav":
            raise ConfigError(f"--subtype FLOAT needs --format wav, found {self.format_}")
        if self.subtype == "PCM_24" and self.format_ not in ("wav", "flac"):
            raise ConfigError(f"--subtype PCM_24 needs --format wav or flac, found {self.format_}")
        if self.target_lufs is not None and self.normalize != "lufs":
            raise ConfigError(
                f"--target-lufs is for --normalize lufs, found --normalize {self.normalize}; add "
                "--normalize lufs, or omit --target-lufs"
            )
        from wavenet.batch.output_suffix import check_suffix

        check_suffix(self.name_template, self.format_, "--name-template")


@dataclass(frozen=True)
class RowOptions:
    """Rows."""

    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the rows and generate nothing.")
    ] = False
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of rows.")] = None
    shard: Annotated[str, typer.Option(help="Process the i-th of n parts of the rows: 1/4.")] = (
        "1/1"
    )
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite/--resume", help="Generate finished clips again or skip them."),
    ] = False
    skip_invalid: Annotated[
        bool,
        typer.Option("--skip-invalid", help="Process the valid rows although some are invalid."),
    ] = False
    ignore_unknown_columns: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown-columns",
            help="Accept unknown columns whose names are close to known ones.",
        ),
    ] = False
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first clip that fails.")
    ] = False
    max_retries: Annotated[
        int, typer.Option(min=0, help="Retries of a clip after its worker died.")
    ] = 2

    def to_batch_options(self) -> "BatchOptions":
        """Return the options of the batch.

        Raises:
            ConfigError: --shard is invalid.
        """
        from wavenet.batch.batch_config import BatchOptions

        return BatchOptions(
            parse_shard(self.shard),
            self.overwrite,
            self.limit,
            self.fail_fast,
            self.max_retries,
            self.skip_invalid,
        )


@dataclass(frozen=True)
class WorkerOptions:
    """Workers."""

    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            help="Worker processes; default: 1; with --cluster, as many as it has room for.",
        ),
    ] = None
    batch_size: Annotated[
        str, typer.Option(help="Clips that a worker generates at once: auto or a number.")
    ] = "auto"
    engine: EngineOption = "auto"
    device: DeviceOption = "auto"
    threads: ThreadsOption = None
    cluster: Annotated[
        str | None, typer.Option(help="ray: run the workers as actors of a Ray cluster.")
    ] = None
    cluster_address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of a Ray cluster in a private network, or auto: the cluster of this "
            "machine; by default one is started for this batch."
        ),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """Output."""

    score: Annotated[
        bool,
        typer.Option("--score", help="Score each clip by its model; adds about 50 % to the time."),
    ] = False
    json_: JsonOption = False
    quiet: QuietOption = False


def make_settings(
    manifest: str,
    clips: ClipOptions,
    files: FileOptions,
    rows: RowOptions,
    execution: "ExecutionConfig",
) -> "BatchSettings":
    """Return the settings of all clips."""
    from wavenet.batch.batch_config import DEFAULT_TARGET_LUFS, BatchSettings

    return BatchSettings(
        checkpoint=str(clips.checkpoint),
        base_folder="." if manifest == "-" else str(Path(manifest).parent),
        seed=clips.seed,
        seconds=clips.seconds,
        sampling=clips.sampling(),
        name_template=files.name_template,
        file_format=files.format_,
        subtype=files.subtype,
        normalize=files.normalize,
        target_lufs=DEFAULT_TARGET_LUFS if files.target_lufs is None else files.target_lufs,
        precision=choose_precision(clips.precision, execution),
        guard=clips.guard,
        ignore_unknown_columns=rows.ignore_unknown_columns,
        frames_scale=clips.frames_scale,
        channel=clips.channel.value,
        normalize_inputs=clips.normalize_inputs,
    )


def choose_precision(precision: str, execution: "ExecutionConfig") -> str:
    """Return fp32 instead of auto, unless every worker runs the engine cpu.

    The precision determines the audio, so it must not depend on the worker.
    """
    from wavenet.devices import AUTO
    from wavenet.engines.registry import device_for

    if precision != AUTO:
        return precision
    on_cpu = (
        execution.cluster_address is None
        and execution.engine in (AUTO, "cpu")
        and device_for(execution.engine, execution.device).type == "cpu"
    )
    return AUTO if on_cpu else "fp32"


def make_execution(
    manifest: str, files: FileOptions, workers: WorkerOptions, score: bool
) -> "ExecutionConfig":
    """Return the folders, the engine and the workers of a batch.

    Raises:
        ConfigError: an option is invalid, or two contradict each other.
    """
    from wavenet.batch.batch_config import ExecutionConfig

    folder, remote_url = choose_locations(files.out_dir, files.journal_dir, manifest)
    return ExecutionConfig(
        folder,
        workers.engine,
        workers.device,
        workers.threads,
        parse_batch_size(workers.batch_size),
        score,
        remote_url,
        parse_cluster(workers.cluster, workers.cluster_address),
    )


def parse_batch_size(text: str) -> int | None:
    """Return the number of clips generated at once; None for auto.

    Raises:
        ConfigError: the text is not a number from 1.
    """
    if text == "auto":
        return None
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise ConfigError(f"--batch-size must be auto or a number from 1, found {text!r}")
    return int(text)


def parse_shard(text: str) -> "ManifestShard":
    """Parse a shard such as 1/4.

    Raises:
        ConfigError: the text is not a shard.
    """
    from wavenet.batch.manifest import ManifestShard

    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found and 1 <= int(found[1]) <= int(found[2]):
        return ManifestShard(int(found[1]), int(found[2]))
    raise ConfigError(f"--shard must be i/n, with i from 1 to n, found {text!r}")


def parse_cluster(kind: str | None, address: str | None) -> str | None:
    """Return the address of the cluster: "local" by default, None without a cluster.

    Raises:
        ConfigError: an unknown kind, or an address without a kind.
    """
    if kind not in (None, "ray"):
        raise ConfigError(f"--cluster must be ray, found {kind!r}")
    if kind is None and address is not None:
        raise ConfigError("--cluster-address needs --cluster ray; add it")
    return None if kind is None else address or "local"


def choose_locations(
    out_dir: str, journal_dir: Path | None, manifest: str
) -> tuple[Path, str | None]:
    """Return the folder of the journal, and the URL of the clips if they are not in this folder.

    Raises:
        ConfigError: the options contradict each other.
    """
    out_dir = out_dir.removeprefix("file://")
    if "://" not in out_dir:
        if journal_dir is not None:
            raise ConfigError(
                "--journal-dir needs an --out-dir that is a URL, such as s3://bucket/clips"
            )
        return Path(out_dir), None
    if journal_dir is None and not os.path.isfile(manifest):
        raise ConfigError(f"the journal cannot be written beside {manifest}; add --journal-dir")
    # Each URL has its own journal.
    digest = hashlib.blake2b(out_dir.rstrip("/").encode(), digest_size=3).hexdigest()
    path = Path(manifest)
    return journal_dir or path.with_name(f"{path.stem}-{digest}"), out_dir
