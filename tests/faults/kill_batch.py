"""Kill a batch with -9, again and again, and see that nothing is lost, doubled or damaged.

By hand, some minutes: python -m tests.faults.kill_batch --folder /tmp/kills
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
PATIENCE = 300.0  # seconds without a line in the journal


def disturb(
    folder: Path,
    rows: Sequence[dict[str, object]],
    kills: int,
    every: tuple[float, float],
    options: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """Run a batch undisturbed, and once more with so many kills; compare what there is.

    Args:
        every: seconds between a clip that was made and the next kill, from and to.
        options: of `wavenet batch`.
    """
    draw = random.Random(seed)
    manifest = folder / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain, killed = folder / "plain", folder / "killed"
    assert begin(manifest, plain, [*options, "--workers", "1"]).wait() == 0
    done = {"group": 0, "worker": 0}
    starts = 0
    finished = False
    while not finished:
        process = begin(manifest, killed, options)
        starts += 1
        try:
            finished = kill_once(process, killed, done, kills, every, draw)
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
    every: tuple[float, float],
    draw: random.Random,
) -> bool:
    """Kill workers, then all of it; True when it came to its end before."""
    while sum(done.values()) < kills:
        if not wait_for_progress(process, folder) or sleep_with(process, draw.uniform(*every)):
            break
        workers = workers_of(process.pid)
        if workers and draw.random() < 0.5:
            os.kill(draw.choice(workers), signal.SIGKILL)
            done["worker"] += 1
            continue
        os.killpg(process.pid, signal.SIGKILL)
        done["group"] += 1
        return False
    code = process.wait(10 * PATIENCE)
    assert code == 0, f"the batch ended with exit code {code}"
    return True


def begin(manifest: Path, folder: Path, options: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a batch as the leader of a group."""
    command = [sys.executable, "-c", CALL, "batch", str(manifest), "--out-dir", str(folder)]
    return subprocess.Popen(
        [*command, "--quiet", *options], start_new_session=True, stdout=subprocess.DEVNULL
    )


def wait_for_progress(process: "subprocess.Popen[bytes]", folder: Path) -> bool:
    """Wait for a further line in the journal; False when the batch ended."""
    before, deadline = size_of(folder), time.monotonic() + PATIENCE
    while process.poll() is None:
        if size_of(folder) > before:
            return True
        assert time.monotonic() < deadline, "no clip was made for minutes"
        time.sleep(0.02)
    return False


def sleep_with(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait; True when the batch ended meanwhile."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def size_of(folder: Path) -> int:
    """Give the bytes of the journal."""
    journal = folder / "results.jsonl"
    return journal.stat().st_size if journal.exists() else 0


def workers_of(parent: int) -> list[int]:
    """List the workers of a batch: the children of the child that copies itself."""
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
    """List the children of a process, by what Linux tells of it."""
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def compare(plain: Path, killed: Path) -> dict[str, object]:
    """Count what is lost, doubled, damaged and made more than once."""
    expected, found = files_of(plain), files_of(killed)
    lines = (killed / "results.jsonl").read_bytes().splitlines()
    told = [json.loads(line) for line in lines]
    good = {record["id"]: record for record in told if record["status"] == "done"}
    return {
        "items": len(expected),
        "lost": len(expected.keys() - found.keys()),
        "not in the journal": len(expected) - len(good),
        "duplicated": len(found.keys() - expected.keys()),
        "corrupt": sum(found[name] != expected[name] for name in found.keys() & expected.keys()),
        "journal against file": sum(found[r["file"]] != r["sha256"] for r in good.values()),
        "failed": sum(record["status"] != "done" for record in told),
        "redone": sum(record["status"] == "done" for record in told) - len(good),
        "equal": found == expected,
    }


def files_of(folder: Path) -> dict[str, str]:
    """Give the hash of every file but the journal, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "results.jsonl"
    }


def main() -> None:
    """Do it at full size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="new or empty")
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a clip")
    parser.add_argument("--every", type=float, nargs=2, default=(0.2, 1.2))
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
    # fewer at once than is usual, so that so many kills fit in
    options += ["--device", "cpu", "--max-retries", "5", "--batch-size", "32"]
    found = disturb(given.folder, rows, given.kills, tuple(given.every), options)
    print(json.dumps(found))
    if sum(found["kills"].values()) < given.kills:
        sys.exit(f"it came to its end before {given.kills} kills; give more --items")
    sys.exit(0 if found["equal"] and not found["failed"] else 1)


if __name__ == "__main__":
    main()
