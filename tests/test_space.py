"""The folder of a Hugging Face Space: all necessary files, no others, and valid settings."""

import importlib

import pytest

from .repository import ROOT, tracked_files

SDK_PIN = "gradio=="
# The colours that Hugging Face accepts, from its documentation.
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


@pytest.fixture(scope="module")
def script():
    """Import scripts/space.py, which finds its neighbours as when it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        yield importlib.import_module("space")


def test_the_space_contains_the_program_and_its_checkpoints(script, tmp_path):
    target = tmp_path / "deep" / "space"
    target.mkdir(parents=True)
    (target / "old.py").write_text("from an earlier run")
    names = script.assemble(target)
    found = {p.relative_to(target) for p in target.rglob("*") if p.is_file()}
    assert {str(path) for path in found} == set(names)
    top = {path.parts[0] for path in found} - {"packages.txt"}
    assert top == {*script.FOLDERS, *script.FILES}
    code = {
        p.relative_to(ROOT) for f in ("wavenet", "audio_utils") for p in (ROOT / f).rglob("*.py")
    }
    assert code <= found
    for name in (
        "wavenet/ui/generate/live_player.js",
        "wavenet/ui/studio_app.css",
        "checkpoints/digits/README.md",
    ):
        assert (target / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_space_contains_every_other_file_of_the_packages(script, tmp_path):
    """Such as CUDA sources, recipes, style sheets and scripts, which the packages read."""
    tracked = tracked_files(*script.FOLDERS)
    if tracked is None:
        pytest.skip("not a clone of the repository")
    names = set(script.assemble(tmp_path / "space"))
    assert names >= {"wavenet/engines/gpu/cluster_device.cuh", "wavenet/ui/watch/heatmap.js"}
    assert set(tracked) <= names


def test_temporary_and_private_files_are_not_copied(script, tmp_path):
    source = tmp_path / "source"
    for name in (
        *script.FILES,
        "wavenet/a.py",
        "wavenet/__pycache__/a.cpython-311.pyc",
        "wavenet/.a.py.swp",
        "wavenet/.cache/b.py",
        "checkpoints/x/config.json",
        "checkpoints/x/.partial-1.json",
        "checkpoints/x/step.pt",
        "audio_utils/c.nbi",
        "runs/secret.json",
        ".env",
        "tests/d.py",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    kept = script.assemble(tmp_path / "target", source)
    assert kept == sorted([*script.FILES, "wavenet/a.py", "checkpoints/x/config.json"])
    (source / "LICENSE").unlink()
    with pytest.raises(SystemExit, match="LICENSE"):
        script.assemble(tmp_path / "target", source)


def test_the_settings_of_the_space_match_the_project(script):
    fields = script.front_matter(ROOT / "README.md")
    pins = (ROOT / "requirements.txt").read_text().splitlines()
    assert SDK_PIN + fields["sdk_version"] in pins
    assert (fields["sdk"], fields["python_version"]) == ("gradio", "3.12")
    assert (ROOT / fields["app_file"]).is_file()
    assert fields["license"] == "mit"
    assert {fields["colorFrom"], fields["colorTo"]} <= COLOURS
    assert len(fields["short_description"]) <= 60
    assert (ROOT / "LICENSE").read_text().startswith("MIT")
