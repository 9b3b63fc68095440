"""Kill `wavenet data prepare` with SIGKILL again and again; check that the corpus is the same.

Run by hand, takes minutes: python -m tests.faults.kill_prepare --folder /tmp/kills
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.corpus import corpus_hashes, write_recordings

CALL = (
    "import wavenet.corpus.file_listing as listing; listing.BLOCK_FILES = {block};"
    "from wavenet.cli.main import main; main()"
)
TIMEOUT = 300.0  # seconds


def start(source: Path, out: Path, block: int, workers: int) -> "subprocess.Popen[bytes]":
    """Start a preparation as the leader of a group."""
    arguments = ["data", "prepare", str(source), "--out", str(out), "--workers", str(workers)]
    command = [sys.executable, "-c", CALL.format(block=block), *arguments]
    return subprocess.Popen(
        [*command, "--pattern", "{digit}_{speaker}_{take}"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def compare_with_kills(
    folder: Path, files: int, kills: int, block: int, longest: float, seed: int = 0
) -> dict[str, Any]:
    """Prepare a corpus without kills and with a number of kills; compare the two.

    Args:
        longest: maximum seconds from a start to its kill.
    """
    draw = random.Random(seed)
    source = write_recordings(folder / "audio", files)
    plain, killed = folder / "plain", folder / "killed"
    assert start(source, plain, block, 1).wait(TIMEOUT) == 0
    done, summaries = 0, []
    while True:
        process = start(source, killed, block, 2)
        try:
            if done == kills:
                assert process.wait(TIMEOUT) == 0
                break
            process.wait(draw.uniform(0.0, longest))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            done += 1
            summaries.append(len(list((killed / "parts").glob("*.json"))))
        else:  # it ended before the kill; the next one starts again
            (killed / "corpus.json").unlink()
            for path in (killed / "parts").iterdir():
                path.unlink()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    hashes = corpus_hashes(killed)
    return {"kills": done, "shards at each": summaries, "equal": hashes == corpus_hashes(plain)}


def main() -> None:
    """Run at full size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="new or empty")
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--longest", type=float, default=5.0, help="seconds until a kill")
    options = parser.parse_args()
    result = compare_with_kills(options.folder, options.files, options.kills, 50, options.longest)
    print(json.dumps(result))
    sys.exit(0 if result["equal"] else 1)


if __name__ == "__main__":
    main()
