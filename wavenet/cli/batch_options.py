"""What some options of `wavenet batch` may be, and what they stand for."""

import hashlib
import os
from pathlib import Path

from wavenet.errors import ConditionError


def parse_batch_size(text: str) -> int | None:
    """Give the clips made at once; None for auto.

    Raises:
        ConditionError: it is no number from 1 on.
    """
    if text == "auto":
        return None
    if not text.isdigit() or not int(text):
        raise ConditionError(f"--batch-size takes auto or a number from 1, found {text!r}")
    return int(text)


def parse_shard(text: str) -> tuple[int, int]:
    """Give part and parts of a shard, as in 1/4.

    Raises:
        ConditionError: it is no such thing.
    """
    part, _, count = text.partition("/")
    if part.isdigit() and count.isdigit() and 1 <= int(part) <= int(count):
        return int(part), int(count)
    raise ConditionError(f"--shard takes i/n, with i from 1 to n, found {text!r}")


def parse_cluster(kind: str | None, address: str | None) -> str | None:
    """Give the address of the cluster: local where none is named, None where none is wanted.

    Raises:
        ConditionError: another kind, or an address without a kind.
    """
    if kind not in (None, "ray"):
        raise ConditionError(f"--engine-cluster takes ray, found {kind!r}")
    if kind is None and address is not None:
        raise ConditionError("--cluster-address is for --engine-cluster ray; add that")
    return None if kind is None else address or "local"


def choose_places(out_dir: str, journal_dir: Path | None, manifest: str) -> tuple[Path, str | None]:
    """Give the folder of the journal, and the address of the clips where they are not beside it.

    Raises:
        ConditionError: the options contradict each other.
    """
    out_dir = out_dir.removeprefix("file://")
    if "://" not in out_dir:
        if journal_dir is not None:
            raise ConditionError("--journal-dir is for an --out-dir such as s3://bucket/clips")
        return Path(out_dir), None
    if journal_dir is None and not os.path.isfile(manifest):
        raise ConditionError(f"no journal can lie beside {manifest}; add --journal-dir")
    # another address has another journal
    digest = hashlib.blake2b(out_dir.rstrip("/").encode(), digest_size=3).hexdigest()
    beside = Path(manifest)
    return journal_dir or beside.with_name(f"{beside.stem}-{digest}"), out_dir


def check_choices(format_: str, subtype: str, normalize: str) -> None:
    """Refuse what no file can be.

    Raises:
        ConditionError: an unknown word, or two that do not go together.
    """
    for option, value, choices in (
        ("--format", format_, ("wav", "flac", "ogg", "mp3")),
        ("--subtype", subtype, ("PCM_16", "PCM_24", "FLOAT")),
        ("--normalize", normalize, ("none", "peak", "lufs")),
    ):
        if value not in choices:
            raise ConditionError(f"{option} takes {', '.join(choices)}; found {value!r}")
    if subtype == "FLOAT" and format_ != "wav":
        raise ConditionError(f"--subtype FLOAT is for --format wav, found {format_}")
