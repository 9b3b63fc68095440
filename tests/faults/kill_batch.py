"""Kill a batch with SIGKILL again and again; check that no clip is lost, doubled or damaged.

Run by hand, takes minutes: python -m tests.faults.kill_batch --folder /tmp/kills
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CALL = "from wavenet.cli.main import main; main()"
TIMEOUT = 300.0  # seconds without a new line in the journal


def compare_with_kills(
    folder: Path,
    rows: Sequence[dict[str, object]],
    kills: int,
    interval: tuple[float, float],
    options: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """Run a batch without kills and with a number of kills; compare the results.

    Args:
        interval: minimum and maximum seconds between a finished clip and the next kill.
        options: of `wavenet batch`.
    """
    draw = random.Random(seed)
    manifest = folder / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain, killed = folder / "plain", folder / "killed"
    assert start(manifest, plain, [*options, "--workers", "1"]).wait() == 0
    done = {"group": 0, "worker": 0}
    starts = 0
    finished = False
    while not finished:
        process = start(manifest, killed, options)
        starts += 1
        try:
            finished = kill_once(process, killed, done, kills, interval, draw)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return {"starts": starts, "kills": done, **compare(plain, killed)}


def kill_once(
    process: subprocess.Popen[bytes],
    folder: Path,
    done: dict[str, int],
    kills: int,
    interval: tuple[float, float],
    draw: random.Random,
) -> bool:
    """Kill workers, then the whole group; return True if the batch ended before that."""
    while sum(done.values()) < kills:
        if not wait_for_progress(process, folder) or wait_for_exit(
            process, draw.uniform(*interval)
        ):
            break
        workers = workers_of(process.pid)
        if workers and draw.random() < 0.5:
            os.kill(draw.choice(workers), signal.SIGKILL)
            done["worker"] += 1
            continue
        os.killpg(process.pid, signal.SIGKILL)
        done["group"] += 1
        return False
    code = process.wait(10 * TIMEOUT)
    assert code == 0, f"the batch ended with exit code {code}"
    return True


def start(manifest: Path, folder: Path, options: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a batch as the leader of a process group."""
    command = [sys.executable, "-c", CALL, "batch", str(manifest), "--out-dir", str(folder)]
    return subprocess.Popen(
        [*command, "--quiet", *options], start_new_session=True, stdout=subprocess.DEVNULL
    )


def wait_for_progress(process: "subprocess.Popen[bytes]", folder: Path) -> bool:
    """Wait for a new line in the journal; return False if the batch ended."""
    before, deadline = journal_size(folder), time.monotonic() + TIMEOUT
    while process.poll() is None:
        if journal_size(folder) > before:
            return True
        assert time.monotonic() < deadline, "no clip was finished for minutes"
        time.sleep(0.02)
    return False


def wait_for_exit(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait; return True if the batch ended meanwhile."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def journal_size(folder: Path) -> int:
    """Return the size of the journal in bytes."""
    journal = folder / "results.jsonl"
    return journal.stat().st_size if journal.exists() else 0


def workers_of(parent: int) -> list[int]:
    """Return the workers of a batch: the children of its fork server."""
    try:
        return [
            int(worker)
            for child in children_of(parent)
            if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()
            for worker in children_of(child)
        ]
    except OSError:  # one of them ended meanwhile
        return []


def children_of(process: int | str) -> list[str]:
    """Return the children of a process, from /proc."""
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def compare(plain: Path, killed: Path) -> dict[str, object]:
    """Count clips that are lost, doubled, damaged, or were generated more than once."""
    expected, found = hash_files(plain), hash_files(killed)
    lines = (killed / "results.jsonl").read_bytes().splitlines()
    records = [json.loads(line) for line in lines]
    done = {record["id"]: record for record in records if record["status"] == "done"}
    return {
        "items": len(expected),
        "lost": len(expected.keys() - found.keys()),
        "not in the journal": len(expected) - len(done),
        "duplicated": len(found.keys() - expected.keys()),
        "corrupt": sum(found[name] != expected[name] for name in found.keys() & expected.keys()),
        "journal against file": sum(found[r["file"]] != r["sha256"] for r in done.values()),
        "failed": sum(record["status"] != "done" for record in records),
        "redone": sum(record["status"] == "done" for record in records) - len(done),
        "equal": found == expected,
    }


def hash_files(folder: Path) -> dict[str, str]:
    """Return the hash of every file but the journal, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "results.jsonl"
    }


def main() -> None:
    """Run at full size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="new or empty")
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a clip")
    parser.add_argument("--interval", type=float, nargs=2, default=(0.2, 1.2))
    parser.add_argument("--checkpoint", default="checkpoints/digits")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    speakers = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    rows = [
        {"id": n, "digit": n % 10, "speaker": speakers[n % 6], "seconds": given.seconds}
        for n in range(given.items)
    ]
    options = ["--checkpoint", given.checkpoint, "--workers", str(given.workers)]
    # a smaller batch than the default, so that all kills fit in
    options += ["--device", "cpu", "--max-retries", "5", "--batch-size", "32"]
    result = compare_with_kills(given.folder, rows, given.kills, tuple(given.interval), options)
    print(json.dumps(result))
    if sum(result["kills"].values()) < given.kills:
        sys.exit(f"the batch ended before {given.kills} kills; use more --items")
    sys.exit(0 if result["equal"] and not result["failed"] else 1)


if __name__ == "__main__":
    main()
