"""Fetch checkpoints from the Hugging Face Hub, and publish them there.

The name of a repository enters, a checked folder leaves; and back. Nothing is asked of the network
before `pull` or `push` is called. Every fault of the network becomes one sentence. Callers: the
command line and the studio.
"""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audio_utils.files import reason
from wavenet.checkpoint import CARD, find, load
from wavenet.errors import CheckpointError, ConfigError, HubError
from wavenet.sharing.install import MAX_BYTES, REQUIRED, check_free, staged
from wavenet.sharing.model_card import licence_of, read_card

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class Pulled:
    """A checkpoint that was fetched.

    Attributes:
        commit: the exact state of the repository, for `--revision`.
        licence: as its card names it, None where it names none.
    """

    folder: Path
    commit: str
    licence: str | None


def pull(
    repository: str,
    out: Path,
    revision: str | None = None,
    overwrite: bool = False,
    anonymous: bool = False,
) -> Pulled:
    """Download a checkpoint, load it as a test, and put it in place.

    Only the files of a checkpoint are asked for, whatever else lies beside them.

    Args:
        repository: OWNER/NAME.
        out: the folder to make.
        revision: a branch, tag or commit; the newest state of the main branch when left out.
        anonymous: whether the token of this machine is left out of it, as for strangers.
    Raises:
        ConfigError, ConditionError: the name is none, or `out` is taken.
        HubError: the Hub cannot be reached or refuses.
        CheckpointError: what is there is no checkpoint of ours.
    """
    _check_name(repository)
    check_free(out, overwrite)
    api = _api(anonymous)
    with _faults(repository, revision):
        info = api.model_info(repository, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size for file in info.siblings or ()}
        _check_sizes(repository, sizes)
        with staged(out, repository, overwrite) as folder:
            for name in MAX_BYTES:
                if name in sizes:
                    api.hf_hub_download(repository, name, revision=info.sha, local_dir=folder)
                    # What was announced need not be what came.
                    _check_sizes(repository, sizes | {name: (folder / name).stat().st_size})
            # Where the library keeps notes on what it fetched.
            shutil.rmtree(folder / ".cache", ignore_errors=True)
    return Pulled(out, str(info.sha), licence_of(read_card(out)))


def push(folder: Path, repository: str, private: bool = False) -> str:
    """Publish a checkpoint folder; the repository is made if there is none.

    Args:
        folder: must load, and have a card that names a licence.
        repository: OWNER/NAME.
        private: whether a new repository is for its owner alone.
    Returns:
        the address of the commit.
    Raises:
        ConfigError: the name is none.
        CheckpointError: the folder is no complete checkpoint, or has no licence.
        HubError: nobody is logged in, or the Hub cannot be reached or refuses.
    """
    _check_name(repository)
    folder = find(folder)
    load(folder)
    if licence_of(read_card(folder)) is None:
        raise CheckpointError(
            f"{folder / CARD} names no licence, without which nobody may use the weights; begin it "
            "with the lines `---`, `license: cc-by-4.0` (or that of your data) and `---`"
        )
    api = _api()
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(f"nobody is logged in to the Hub on this machine; {LOG_IN}")
    with _faults(repository):
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(MAX_BYTES),
            commit_message="Add a checkpoint of WaveNet Studio",
        )
    return str(commit.commit_url)


def _api(anonymous: bool = False) -> "HfApi":
    # The library reads these when it is imported. Else it would ask for more than the checkpoint,
    # and tell which other programs there are; what it says of its attempts ends in our sentence.
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_VERBOSITY": "error"}
    if not sys.stderr.isatty():
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise HubError(
            "this needs the package huggingface_hub, which is missing; "
            "install it with `pip install huggingface_hub`"
        ) from None
    return HfApi(library_name="wavenet-studio", token=False if anonymous else None)


def _check_name(repository: str) -> None:
    if not REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise ConfigError(f"a repository is named OWNER/NAME, found {repository[:100]!r}")


def _check_sizes(repository: str, sizes: dict[str, int | None]) -> None:
    for name in REQUIRED:
        if name not in sizes:
            raise CheckpointError(
                f"{repository} has no {name}; it is no checkpoint of this program"
            )
    for name, limit in MAX_BYTES.items():
        if (sizes.get(name) or 0) > limit:
            raise CheckpointError(
                f"{repository}: {name} has {sizes[name]:,} bytes; at most {limit:,} were expected"
            )


@contextlib.contextmanager
def _faults(repository: str, revision: str | None = None) -> Iterator[None]:
    """Turn what the library raises into one sentence that says what to do."""
    from huggingface_hub import errors

    # Of whichever package it speaks HTTP with.
    http_error: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except errors.GatedRepoError:
        text = f"{repository} asks for agreement to its terms; agree on its page, then {LOG_IN}"
    except errors.RepositoryNotFoundError:
        text = f"the Hub has no model {repository}, or it is private; check the name, or {LOG_IN}"
    except errors.RevisionNotFoundError:
        text = f"{repository} has no revision {revision!r}; leave --revision out for the newest"
    except errors.OfflineModeIsEnabled:
        text = "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it and try again"
    except errors.HfHubHTTPError as error:
        text = _status(repository, error.response.status_code)
    except (http_error, ConnectionError, TimeoutError, errors.LocalEntryNotFoundError):
        text = "the Hub cannot be reached; check the connection and try again"
    except OSError as error:
        text = f"{repository} could not be transferred: {reason(error)}"
    else:
        return
    raise HubError(text)


def _status(repository: str, status: int) -> str:
    if status == 401:
        return f"the Hub does not accept the token of this machine; {LOG_IN}"
    if status == 403:
        return f"your token may not do this with {repository}; take one that may, or ask its owner"
    if status == 429:
        return "the Hub has had too many requests from here; wait some minutes and try again"
    if status >= 500:
        return f"the Hub is in trouble (it answered {status}); try again later"
    return f"the Hub refuses {repository} (it answered {status}); check the name and try again"
