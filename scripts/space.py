"""Assemble the folder of a Hugging Face Space, run it as a Space would, and generate one clip.

python scripts/space.py build/space             # assemble
python scripts/space.py build/space --run       # and test: the page, one clip through the API

The Space runs in its own environment; the clip is requested from the environment of this script.
"""

import argparse
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from studio_server import running_server

ROOT = Path(__file__).parents[1]
FOLDERS = ("wavenet", "audio_utils", "checkpoints")
FILES = ("app.py", "requirements.txt", "README.md", "LICENSE")
OPTIONAL = ("packages.txt",)
# Files of the program, of recipes and of checkpoints; no temporary files.
SUFFIXES = {
    ".py",
    ".js",
    ".css",
    ".svg",
    ".html",
    ".cu",
    ".cuh",
    ".toml",
    ".typed",
    ".json",
    ".safetensors",
    ".md",
    ".nam",
}
NAMES = {
    "LICENSE",
    "sample.wav",  # the clip of the comparison
    "cmudict.gz",
    "cmudict_licence.txt",
    "letter_to_sound.npz",
}
VERSION = (3, 12)
PORT = 7860


def assemble(target: Path, source: Path = ROOT) -> list[str]:
    """Copy the files that a Space needs into a new folder.

    Returns:
        The paths of the copies, relative to the folder.
    """
    if target.exists():
        shutil.rmtree(target)
    found = [source / name for name in (*FILES, *OPTIONAL) if (source / name).exists()]
    missing = [name for name in FILES if not (source / name).exists()]
    if missing:
        raise SystemExit(f"{source} has no {', '.join(missing)}, which a Space needs")
    for folder in FOLDERS:
        found += [p for p in sorted((source / folder).rglob("*")) if is_program_file(p)]
    names = [path.relative_to(source) for path in found]
    names = [name for name in names if not any(part[0] == "." for part in name.parts)]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    return sorted(map(str, names))


def is_program_file(path: Path) -> bool:
    """Return whether a file belongs to the program, a recipe, a checkpoint or a licence."""
    return path.suffix in SUFFIXES or path.name in NAMES


def front_matter(readme: Path) -> dict[str, str]:
    """Return the fields `name: value` between the first two lines `---`."""
    lines = readme.read_text(encoding="utf-8").split("---\n")[1].splitlines()
    fields = dict(line.split(": ", 1) for line in lines if re.match(r"\w+: ", line))
    return {name: value.strip("\"'") for name, value in fields.items()}


def find_python() -> str | None:
    """Return a Python of the version of a Space: from PYTHON, uv or PATH; None if there is none."""
    uv = shutil.which("uv")
    command = [uv, "python", "find", "3.12"] if uv else ["true"]
    from_uv = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    for name in filter(None, (os.environ.get("PYTHON"), from_uv, "python3.12", "python3")):
        code = f"import sys; sys.exit(sys.version_info[:2] != {VERSION})"
        try:
            if subprocess.run([name, "-c", code], capture_output=True).returncode == 0:
                return name
        except OSError:
            continue
    return None


def make_environment(space: Path) -> str:
    """Install the packages of the Space, once per list of packages; return its Python."""
    python = find_python()
    if python is None:
        print("no Python 3.12 found (set PYTHON=), so the Space runs in this environment")
        return sys.executable
    packages = (space / "requirements.txt").read_bytes()
    stamp = hashlib.sha256(packages).hexdigest()[:12]
    folder = space.parent / f"space-env-{stamp}"
    space_python = folder / "bin" / "python"
    if not (folder / "done").exists():
        print(f"installing requirements.txt into {folder}: this needs minutes and several GB")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [str(space_python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, "--requirement", str(space / "requirements.txt")], check=True)
        (folder / "done").touch()
    return str(space_python)


def run(space: Path, python: str) -> None:
    """Start the Space on this machine, check its page and generate a clip, then stop it."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            raise SystemExit(f"the port {PORT} is in use; stop the program that uses it")
    inherited = ("PATH", "HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in inherited if name in os.environ}
    environment |= {"SYSTEM": "spaces", "SPACE_ID": "me/studio", "GRADIO_SSR_MODE": "true"}
    environment |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(PORT)}
    log, url = space.parent / "space.log", f"http://127.0.0.1:{PORT}"
    with running_server([python, "app.py"], space, environment, log, url) as page:
        check_space(page, url)
    print("the Space has been stopped")


def check_space(page: bytes, url: str) -> None:
    """Check the page that a visitor sees, and generate a clip as a program does."""
    assert b"WaveNet Studio" in page
    assert b"model-upload" not in page, "a public Space must not accept uploaded checkpoints"
    import soundfile
    from gradio_client import Client

    client = Client(url, verbose=False)
    labels = {"digit": "7", "speaker": "theo"}
    start = time.monotonic()
    answer = client.predict("digits", labels, 0.5, 1, api_name="/generate")
    path = answer["path"] if isinstance(answer, dict) else answer
    waveform, rate = soundfile.read(path)
    assert (len(waveform), rate) == (4000, 8000)
    assert abs(waveform).max() > 0.01
    print(f"clip: {len(waveform) / rate:.2f} s at {rate} Hz after {time.monotonic() - start:.1f} s")


def main() -> None:
    """Assemble the folder, and run the Space if requested."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path)
    parser.add_argument("--run", action="store_true")
    options = parser.parse_args()
    names = assemble(options.target)
    size = sum((options.target / name).stat().st_size for name in names)
    print(f"{options.target}: {len(names)} files, {size / 1e6:.1f} MB")
    if options.run:
        space = options.target.resolve()
        run(space, make_environment(space))


if __name__ == "__main__":
    main()
