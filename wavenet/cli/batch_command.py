"""`wavenet batch`: a manifest -> a folder of clips, from wherever it was left."""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.batch_options import (
    check_choices,
    choose_places,
    parse_batch_size,
    parse_cluster,
    parse_shard,
)
from wavenet.cli.clip_generation import GuardOption
from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    GreedyOption,
    GuidanceOption,
    JsonOption,
    PrecisionOption,
    SeedOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    print_message,
)
from wavenet.cli.progress_bars import BatchProgress
from wavenet.errors import ConditionError, DataError, FolderError

if TYPE_CHECKING:
    from wavenet.batch.finish import Place, Record
    from wavenet.batch.run import Plan, Tally, Wanted
    from wavenet.batch.tasks import Task

SOME_FAILED = 3
_FINISHING = "finishing the clips under way; Ctrl-C again to end at once"


def batch(
    manifest: Annotated[
        str, typer.Argument(help="A .jsonl, .csv or .tsv file, a row for each clip; - is stdin.")
    ],
    out_dir: Annotated[
        str, typer.Option(help="Folder for clips and results.jsonl, or s3://bucket/clips.")
    ] = "clips",
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    seconds: Annotated[
        float | None, typer.Option(help="Where a row names none; the checkpoint's usual length.")
    ] = None,
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    greedy: GreedyOption = None,
    guidance: GuidanceOption = None,
    name_template: Annotated[
        str, typer.Option(help="Of files: {id}, {seed}, {ext}, {line}, {checkpoint}, labels.")
    ] = "{id}_{seed}.{ext}",
    format_: Annotated[str, typer.Option("--format", help="wav, flac, ogg or mp3.")] = "wav",
    subtype: Annotated[str, typer.Option(help="PCM_16, PCM_24, or FLOAT (wav).")] = "PCM_16",
    normalize: Annotated[str, typer.Option(help="none, peak (-1 dBFS) or lufs.")] = "none",
    target_lufs: Annotated[float, typer.Option(help="Of --normalize lufs.")] = -23.0,
    score: Annotated[
        bool, typer.Option(help="Score each clip by its model; takes half as long again.")
    ] = False,
    batch_size: Annotated[str, typer.Option(help="Clips made at once: auto or a number.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Processes, 1 if left out; on a cluster all that fit."),
    ] = None,
    engine_cluster: Annotated[
        str | None, typer.Option(help="ray: workers are actors of a Ray cluster.")
    ] = None,
    cluster_address: Annotated[
        str | None,
        typer.Option(help="HOST:PORT or auto, on a private network; else one begins here."),
    ] = None,
    journal_dir: Annotated[
        Path | None, typer.Option(help="Where --out-dir is s3:// or such; beside the manifest.")
    ] = None,
    shard: Annotated[str, typer.Option(help="Only the i-th of n parts, as in 1/4.")] = "1/1",
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--resume", help="Make again, or leave, what is done.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Most rows.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Check the rows and make nothing.")] = False,
    fail_fast: Annotated[bool, typer.Option(help="End at the first clip that fails.")] = False,
    max_retries: Annotated[int, typer.Option(min=0, help="Of a clip whose worker was killed.")] = 2,
    skip_bad: Annotated[bool, typer.Option(help="Make the others where rows are bad.")] = False,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    threads: ThreadsOption = None,
    guard: GuardOption = True,
    json_: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Make a clip for each row of a manifest; the same command goes on after whatever stopped it.

    Columns: id, the model's labels, seconds, seed, prompt, condition, temperature, top_k, top_p,
    greedy, guidance, output, checkpoint; others are carried to the results. A clip follows from
    its seed and id alone, whatever is made beside it and wherever.
    """
    check_choices(format_, subtype, normalize)
    address, parts = parse_cluster(engine_cluster, cluster_address), parse_shard(shard)
    together = parse_batch_size(batch_size)

    from wavenet.batch.folder import check_folder

    folder, remote = choose_places(out_dir, journal_dir, manifest)
    check_folder(folder, Path(manifest), parts)
    if address is not None:
        from wavenet.batch.cluster import check_cluster

        check_cluster(address)
    elif workers is not None and workers > 1:
        from wavenet.batch.processes import prepare

        prepare()

    from wavenet.batch.finish import Place
    from wavenet.batch.run import Wanted, check, run
    from wavenet.batch.tasks import Settings
    from wavenet.config import make_config
    from wavenet.sampling import SamplingConfig

    drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    drawing |= {"guidance": guidance}
    drawing = {name: value for name, value in drawing.items() if value is not None}
    make_config(SamplingConfig, "sampling", **drawing)
    base = "." if manifest == "-" else str(Path(manifest).parent)
    settings = Settings(
        str(checkpoint), base, seed, seconds, drawing, name_template, format_, subtype, normalize,
        target_lufs, precision, guard,
    )  # fmt: skip
    wanted = Wanted(parts, overwrite, limit, fail_fast, max_retries, skip_bad)
    where = Place(folder, engine, device, threads, together, score, remote, address)
    with _as_file(manifest) as path:
        plan = check(path, settings, wanted, where)
        _tell_plan(plan, manifest, wanted)
        if dry_run:
            return
        began = time.perf_counter()
        bar = BatchProgress(plan.good, plan.seconds, quiet)

        def show(task: "Task", record: "Record | None") -> None:
            if record is None:
                bar.skip_clip(task.seconds)
            else:
                bar.finish_clip(task.identity, record["error"])

        with _interruptible() as stopping, _kept_on_the_way(bar), bar:
            tally = run(
                path,
                settings,
                wanted,
                where,
                workers,
                show,
                bar.add_audio,
                bar.print_message,
                stopping,
            )
        _tell(tally, plan, where, wanted, time.perf_counter() - began, json_)
        if stopping.is_set() and not (fail_fast and tally.failed):
            raise typer.Exit(130)
        if tally.failed:
            raise typer.Exit(SOME_FAILED)


def _tell_plan(plan: "Plan", manifest: str, wanted: "Wanted") -> None:
    """Say what is asked for, and every fault.

    Raises:
        ConditionError: there are faults, and they are not to be passed over; or nothing to make.
    """
    for fault in plan.faults:
        print_message(f"line {fault.line}: {fault.sentence}")
    if plan.bad > len(plan.faults):
        print_message(f"and {plan.bad - len(plan.faults):,} more")
    if plan.bad and not wanted.skip_bad:
        raise ConditionError(
            f"{plan.bad:,} of {plan.rows:,} rows of {manifest} cannot be used, so nothing was "
            "made; mend them, or add --skip-bad"
        )
    if not plan.rows:
        raise ConditionError(f"{manifest} has no rows for this shard; give it a line for each clip")
    print_message(f"{plan.good:,} clips, {plan.seconds:,.1f} s of audio")


def _tell(
    tally: "Tally", plan: "Plan", where: "Place", wanted: "Wanted", took: float, as_json: bool
) -> None:
    from wavenet.batch.journal import journal_name

    results = where.folder / journal_name(wanted.shard)
    left = plan.rows - tally.done - tally.before - tally.failed
    words = [f"{tally.done:,} clips made"]
    if tally.done:
        words[0] += f" ({tally.seconds:,.1f} s of audio in {took:,.1f} s, "
        words[0] += f"{tally.seconds / took:,.1f} times real time)"
    for count, what in (
        (tally.before, "done before"),
        (tally.failed, "failed"),
        (left, "left: the same command goes on"),
    ):
        if count > 0:
            words.append(f"{count:,} {what}")
    print_message(", ".join(words))
    if not as_json:
        typer.echo(str(results))
        return
    record = {"results": str(results), "took": took, "left": left, **vars(tally)}
    typer.echo(json.dumps(record))


@contextmanager
def _as_file(manifest: str) -> Iterator[Path]:
    """Give the manifest as a file that can be read twice, which a pipe cannot.

    Raises:
        FolderError: there is no room for a copy.
        DataError: it cannot be read.
    """
    if manifest != "-" and (os.path.isfile(manifest) or not os.path.exists(manifest)):
        yield Path(manifest)
        return
    if os.path.isdir(manifest) or (manifest == "-" and sys.stdin is None):
        raise DataError(f"{manifest} cannot be read; give a .jsonl, .csv or .tsv file")
    with tempfile.NamedTemporaryFile(prefix="wavenet-") as copy:
        try:
            with nullcontext(sys.stdin.buffer) if manifest == "-" else open(manifest, "rb") as pipe:
                shutil.copyfileobj(pipe, copy)
            copy.flush()
        except OSError as error:
            raise FolderError(f"{manifest} cannot be copied to {copy.name}: {error}") from None
        yield Path(copy.name)


@contextmanager
def _kept_on_the_way(bar: BatchProgress) -> Iterator[None]:
    """End as a batch does of which some clips failed, if the disk fails when some are made."""
    try:
        yield
    except FolderError as error:
        if not bar.generated_seconds:
            raise
        print_message("what is done is kept; the same command goes on")
        print_message(f"wavenet: {error}")
        raise typer.Exit(SOME_FAILED) from None


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a wish to begin nothing more; the second one ends at once."""
    stopping = threading.Event()
    words = [_FINISHING, "ended; the same command goes on"]

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        again = stopping.is_set()
        stopping.set()
        # each once, and not by print: its buffer may be in use just now
        if words:
            with suppress(OSError):
                os.write(2, f"{words.pop(0)}\n".encode())
        if again:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stopping
    finally:
        # who was asked to end is about to: another press on the way out would be a traceback
        signal.signal(signal.SIGINT, signal.SIG_IGN if stopping.is_set() else before)
