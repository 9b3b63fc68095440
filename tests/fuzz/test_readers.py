"""No reader ends in a traceback: damaged input is read, or refused in one printable sentence.

`make test` tries a few seeded examples per reader. `make fuzz` tries many random ones and prints
how many each reader accepted and refused; FUZZ_EXAMPLES sets their number.
"""

import os
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.hand_made import HAND_MADE
from tests.fuzz.mutations import apply_changes, changes
from tests.fuzz.readers import AUDIO_SUFFIXES, ERRORS, Target, make_targets

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
SEEDED_EXAMPLES = 12
MAX_SECONDS = 5.0  # of the processor
MAX_BYTES = 1 << 30
NAMES = [
    *(f"audio {suffix}" for suffix in AUDIO_SUFFIXES), "zip", "config", "weights", "card", "npy",
    "calibration", "autoencoder config.json", "autoencoder model.safetensors",
    "manifest jsonl", "manifest csv", "manifest tsv", "metadata csv",
    "metadata jsonl", "metadata txt", "journal", "status run.json", "status control.json",
    "status run.log", "status metrics.jsonl", "snapshot state",
    "snapshot tensors", "metrics", "recipe", "r9y9 weights", "r9y9 hparams", "vincentherrmann",
    "nam", "pedalnet",
    "pattern", "link", "repository", "upload", "served file", "dilations", "output name",
    "template", "storage", "shard", "batch size", "assignment", "alignment", "speech table",
    "compressed", "compressed, repaired", "payload",
]  # fmt: skip
CORPUS = "corpus"  # one entry for all files of a corpus
CORPUS_FILES = ("corpus corpus.json", "corpus report.json", "records.npy", "names.content.npy")


@pytest.fixture(scope="module")
def targets(tmp_path_factory) -> dict[str, Target]:
    return make_targets(tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def counts() -> Iterator[dict[str, Counter[str]]]:
    """Count the outcomes by reader; print them after a long run."""
    found: dict[str, Counter[str]] = {}
    yield found
    if EXAMPLES:
        for name, counter in found.items():
            print(f"{name}: {counter['read']} read, {counter['refused']} refused", file=sys.stderr)


def try_content(target: Target, folder: Path, content: bytes) -> str:
    """Read a content within limits of time and memory; return whether it was read or refused."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = "read"
    try:
        target.read(folder, content)
    except ERRORS as error:
        outcome = "refused"
        message = str(error)
        assert message.strip()
        assert message.encode("utf-8", "replace").decode().isprintable(), repr(message)
    assert time.process_time() - start < MAX_SECONDS
    # in kB on Linux, in bytes on a Mac
    unit = 1 if sys.platform == "darwin" else 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    assert grown < MAX_BYTES
    return outcome


def chosen_targets(targets: dict[str, Target], name: str) -> list[Target]:
    if name != CORPUS:
        return [targets[name]]
    names = [key for key in targets if key.startswith(CORPUS)]
    if not EXAMPLES:  # one file of each kind
        names = [key for key in names if key.rpartition("/")[2] in CORPUS_FILES]
    return [targets[key] for key in names]


def test_every_reader_is_in_the_list(targets):
    assert {name for name in targets if not name.startswith(CORPUS)} == set(NAMES)


@pytest.mark.parametrize("name", [*NAMES, CORPUS])
def test_valid_content_is_read(targets, tmp_path, name):
    """Control: otherwise the damaged content would be refused for another reason."""
    if name in ("upload", "served file"):
        pytest.skip("no file was uploaded")
    for target in chosen_targets(targets, name):
        for seed in target.seeds:
            assert try_content(target, tmp_path / "work", seed) == "read"


@pytest.mark.parametrize("name", [*NAMES, CORPUS])
def test_damaged_content_is_read_or_refused(targets, counts, tmp_path, name):
    chosen = chosen_targets(targets, name)
    others = [seed for target in targets.values() for seed in target.seeds]
    counter = counts.setdefault(name, Counter())

    @settings(
        max_examples=EXAMPLES or SEEDED_EXAMPLES,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
    )
    @given(
        target=st.sampled_from(chosen), pick=st.integers(0, 99), other=st.integers(0, 999),
        damage=changes,
    )  # fmt: skip
    def check(target: Target, pick: int, other: int, damage: list) -> None:
        seed = target.seeds[pick % len(target.seeds)]
        content = apply_changes(seed, others[other % len(others)], damage)
        counter[try_content(target, tmp_path / "work", content)] += 1

    check()


@pytest.mark.parametrize("name", [*NAMES, CORPUS])
def test_hand_made_content_is_read_or_refused(targets, tmp_path, name):
    for target in chosen_targets(targets, name):
        for content in HAND_MADE.values():
            try_content(target, tmp_path / "work", content)
