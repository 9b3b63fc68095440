"""Kill `wavenet data prepare` with -9, again and again, and see that the corpus is the same.

By hand, some minutes: python -m tests.faults.kill_prepare --folder /tmp/kills
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

from tests.corpus import content, write_recordings

CALL = (
    "import wavenet.corpus.file_listing as listing; listing.BLOCK_FILES = {block};"
    "from wavenet.cli.main import main; main()"
)
PATIENCE = 300.0  # seconds


def begin(source: Path, out: Path, block: int, workers: int) -> "subprocess.Popen[bytes]":
    """Start a preparation as the leader of a group."""
    words = ["data", "prepare", str(source), "--out", str(out), "--workers", str(workers)]
    command = [sys.executable, "-c", CALL.format(block=block), *words]
    return subprocess.Popen(
        [*command, "--pattern", "{digit}_{speaker}_{take}"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def disturb(
    folder: Path, files: int, kills: int, block: int, longest: float, seed: int = 0
) -> dict[str, Any]:
    """Prepare undisturbed, and once more with so many kills; compare the two.

    Args:
        longest: seconds from a start to the kill, at most.
    """
    draw = random.Random(seed)
    source = write_recordings(folder / "audio", files)
    plain, killed = folder / "plain", folder / "killed"
    assert begin(source, plain, block, 1).wait(PATIENCE) == 0
    done, parts = 0, []
    while True:
        process = begin(source, killed, block, 2)
        try:
            if done == kills:
                assert process.wait(PATIENCE) == 0
                break
            process.wait(draw.uniform(0.0, longest))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            done += 1
            parts.append(len(list((killed / "parts").glob("*.json"))))
        else:  # it came to its end before; the next one begins anew
            (killed / "corpus.json").unlink()
            for path in (killed / "parts").iterdir():
                path.unlink()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = content(killed)
    return {"kills": done, "parts at each": parts, "equal": found == content(plain)}


def main() -> None:
    """Do it at full size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="new or empty")
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--longest", type=float, default=5.0, help="seconds until a kill")
    given = parser.parse_args()
    found = disturb(given.folder, given.files, given.kills, 50, given.longest)
    print(json.dumps(found))
    sys.exit(0 if found["equal"] else 1)


if __name__ == "__main__":
    main()
