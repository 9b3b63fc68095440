"""Build the wheel and the source distribution into dist/, and test the wheel as a new user would.

python scripts/wheel.py             # build and test
python scripts/wheel.py --no-test   # only build

The wheel is built from the unpacked source distribution, so that it shows whether that is complete.
The test installs it into a new environment without its dependencies, which are found in the
environment of this script, and uses it from an empty folder with an empty home folder.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

from studio_server import running_server

ROOT = Path(__file__).parents[1]
NAME = "wavenet_studio"
CHECKPOINTS = ("digits", "kathleen", "strings", "vocoder")
MAX_BYTES = 30_000_000
# Run inside the installation; prints its facts.
FACTS = """
import json, wavenet
from wavenet.engines.gpu.cluster_kernel import read_source
from wavenet.training.recipe import BUILT_IN
print(json.dumps({"version": wavenet.__version__, "file": wavenet.__file__,
                  "recipes": len(list(BUILT_IN.glob("*.toml"))), "cuda": len(read_source())}))
"""


def build(target: Path) -> Path:
    """Build both distributions into a folder, and return the path of the wheel."""
    for old in target.glob(f"{NAME}-*"):
        old.unlink()
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target.resolve())]
    subprocess.run([*command, "--target", "sdist"], cwd=ROOT, check=True)
    (sdist,) = target.glob(f"{NAME}-*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (source,) = Path(folder).iterdir()
        subprocess.run([*command, "--target", "wheel"], cwd=source, check=True)
    (wheel,) = target.glob(f"{NAME}-*.whl")
    for path in (sdist, wheel):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    if wheel.stat().st_size > MAX_BYTES:
        raise SystemExit(f"the wheel is larger than {MAX_BYTES / 1e6:.0f} MB")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a new environment with the packages of this one; return its programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = str(programs / "python")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pip += ["--python", python, "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    # Only the path: files *.pth inside, such as that of an editable installation, are not read.
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = run([python, "-c", code], folder, dict(os.environ)).strip()
    shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    Path(packages, "packages.pth").write_text("\n".join(shared), encoding="utf-8")
    return programs


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed ({done.returncode}):\n{done.stderr}")
    return done.stdout


def check_installation(programs: Path, folder: Path) -> None:
    """Use the installed program from an empty folder.

    Args:
        programs: folder of the programs of the environment.
        folder: new; becomes the working folder, and its `home` the home folder.
    """
    (folder / "home").mkdir(parents=True)
    inherited = ("PATH", "LANG", "TMPDIR", "SYSTEMROOT", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in inherited if name in os.environ}
    environment["HOME"] = environment["USERPROFILE"] = str(folder / "home")
    wavenet = str(programs / "wavenet")
    facts = json.loads(run([str(programs / "python"), "-c", FACTS], folder, environment))
    package = Path(facts["file"]).parent
    assert package.is_relative_to(programs.parent), f"another installation was used: {package}"
    assert run([wavenet, "--version"], folder, environment).strip() == facts["version"]
    assert facts["recipes"] >= 5 and facts["cuda"] > 1000, facts
    before = package_files(package)
    assert "generate" in run([wavenet, "--help"], folder, environment)
    models = run([wavenet, "models", "--json"], folder, environment).splitlines()
    folders = {record["name"]: record["folder"] for record in map(json.loads, models)}
    assert folders == {name: str(package / "checkpoints" / name) for name in CHECKPOINTS}
    # `cached` is not compiled, so this takes seconds
    options = ["--set", "digit=7", "--set", "speaker=theo", "--seconds", "0.1", "--out", "a.wav"]
    for name in ("digits", "checkpoints/digits"):
        choice = ["--checkpoint", name, "--engine", "cached", "--overwrite"]
        run([wavenet, "generate", *choice, *options], folder, environment)
    assert (folder / "a.wav").stat().st_size > 1600
    run([wavenet, "speak", "Hello.", "--out", "b.wav"], folder, environment)
    assert (folder / "b.wav").stat().st_size > 1600
    effect = ["effects", "render", "b.wav", "--model", "overdrive", "--out", "c.wav"]
    run([wavenet, *effect], folder, environment)
    assert (folder / "c.wav").stat().st_size > 1600
    run([wavenet, "compress", "c.wav", "--out", "c.wnc"], folder, environment)
    run([wavenet, "decompress", "c.wnc", "--out", "d.wav"], folder, environment)
    assert (folder / "d.wav").read_bytes() == (folder / "c.wav").read_bytes()
    print("commands: version, help, models, generate, speak, effects render, compress work")
    check_studio(wavenet, package, folder, environment)
    assert package_files(package) == before, "the program has written into its package"
    sounds = {"a.wav", "b.wav", "c.wav", "c.wnc", "d.wav"}
    assert {path.name for path in folder.iterdir()} <= {"home", "studio.log", *sounds}


def package_files(package: Path) -> set[Path]:
    """Return the files of an installed package, except compiled Python modules."""
    return {path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def check_studio(wavenet: str, package: Path, folder: Path, environment: dict[str, str]) -> None:
    """Serve the studio, and check its page, style sheets, scripts, icon and web manifest."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command, url = [wavenet, "ui", "--no-open", "--port", port], f"http://127.0.0.1:{port}"
    with running_server(command, folder, environment, folder / "studio.log", url) as page:
        text = page.decode() + json.dumps(fetch_json(f"{url}/config"))
        assert '"title": "WaveNet Studio"' in text
        files = ("vendor/uplot/uPlot.min.css", "viewer/viewer.js", "page_keys.js", "studio_app.css")
        for name in files:
            line = max((package / "ui" / name).read_text("utf-8").splitlines(), key=len)
            assert line in text or json.dumps(line)[1:-1] in text, f"the page lacks {name}"
        assert fetch_json(f"{url}/manifest.json")["name"] == "WaveNet Studio"
        for icon in ("favicon.ico", "pwa_icon"):
            assert fetch(f"{url}/{icon}") == (package / "ui/icon.svg").read_bytes()
    print("studio: page, style sheets, scripts, icon and web manifest are served")


def fetch(url: str) -> bytes:
    """Return the answer of a server."""
    return urllib.request.urlopen(url, timeout=20).read()


def fetch_json(url: str) -> dict[str, object]:
    """Return the JSON object that a server answers."""
    return json.loads(fetch(url))


def main() -> None:
    """Build both distributions, and test the wheel unless the user declines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--no-test", action="store_true")
    options = parser.parse_args()
    wheel = build(options.out)
    if options.no_test:
        return
    start = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="wavenet-wheel-")).resolve()
    try:
        check_installation(install(wheel, folder / "environment"), folder / "work")
    finally:
        shutil.rmtree(folder)
    print(f"the wheel works ({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    main()
