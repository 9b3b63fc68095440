"""The files that Git tracks, for tests of the project's own files."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tracked_files(*folders: str) -> list[str] | None:
    """Return the tracked files of some folders, by default of all; None without a repository."""
    command = ["git", "ls-files", "-z", "--", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    # Not another repository that contains this folder without tracking it.
    return done.stdout.rstrip("\0").split("\0") if done.returncode == 0 and done.stdout else None
