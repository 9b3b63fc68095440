"""Download checkpoints from the Hugging Face Hub, and publish them.

Input of `pull`: the name of a repository. Output: a checked folder. `push` is the reverse. Only
these two functions of the package contact the Hub. Every connection error becomes one sentence.
Called by the command line and the studio.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audio_utils.atomic_files import os_error_reason
from wavenet.checkpoint import CARD, load
from wavenet.checkpoint_folders import REPOSITORY, is_voice, resolve_checkpoint
from wavenet.disk_space import check_free_space
from wavenet.errors import CheckpointError, ConfigError, HubError
from wavenet.sharing.card_reader import get_licence, read_card
from wavenet.sharing.install import MAX_BYTES, REQUIRED, check_target, staging_folder
from wavenet.user_input.user_folders import checkpoints_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class PulledCheckpoint:
    """A downloaded checkpoint.

    Attributes:
        folder: of the checkpoint.
        commit: hash of the downloaded commit, usable as `--revision`.
        licence: from its card; None if the card has no licence.
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
) -> PulledCheckpoint:
    """Download a checkpoint, check that it loads, and install it.

    Only the files of a checkpoint are requested; other files of the repository are ignored.

    Args:
        repository: OWNER/NAME.
        out: the folder to create.
        revision: a branch, tag or commit; by default the newest commit of the main branch.
        overwrite: whether an existing checkpoint may be replaced.
        anonymous: whether to send no token, even if this machine has one.
    Raises:
        ConfigError: the name of the repository is invalid.
        ConditionError: `out` exists.
        HubError: the Hub cannot be reached or refuses.
        FolderError: the disk has too little space.
        CheckpointError: the repository does not contain a checkpoint of this program.
    """
    _check_name(repository)
    check_target(out, overwrite)
    api = _api(anonymous)
    with _hub_errors(repository, revision):
        info = api.model_info(repository, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size for file in info.siblings or ()}
        _check_sizes(repository, sizes)
        needed = sum(sizes.get(name) or 0 for name in MAX_BYTES)
        check_free_space(out, needed, f"the files of {repository}")
        with staging_folder(out, repository, overwrite) as folder:
            for name in MAX_BYTES:
                if name in sizes:
                    api.hf_hub_download(repository, name, revision=info.sha, local_dir=folder)
                    # The actual size can differ from the announced one.
                    _check_sizes(repository, sizes | {name: (folder / name).stat().st_size})
            # The library stores its download records there.
            shutil.rmtree(folder / ".cache", ignore_errors=True)
    return PulledCheckpoint(out, str(info.sha), get_licence(read_card(out)))


def find_or_pull(name: str, revision: str | None = None) -> Path:
    """Return the folder of a checkpoint; download one of the Hub if this machine lacks it.

    Args:
        name: a name or a folder, or OWNER/NAME of the Hub if there is neither such a folder nor a
            folder OWNER. A download is kept in the user's folder of checkpoints, and the next call
            uses it without a request.
        revision: a branch, tag or commit of the Hub.
    Raises:
        CheckpointError: there is no such checkpoint, or the user has no folder to keep it in.
        ConfigError: a revision of a checkpoint that is not of the Hub.
        HubError: the Hub cannot be reached or refuses.
    """
    folder = resolve_checkpoint(name)
    if folder.is_dir() and revision:
        raise ConfigError(f"{folder} is on this machine and has no revisions; omit the revision")
    if folder.is_dir() or not REPOSITORY.fullmatch(name) or Path(name).parent.is_dir():
        return folder
    root = checkpoints_folder()
    if root is None:
        raise CheckpointError(
            "there is no home folder to keep a download in; use `wavenet hub pull` with --out"
        )
    at_revision = f"@{revision.replace('/', '-')}" if revision else ""
    folder = root / (name.replace("/", "--") + at_revision)
    return folder if folder.is_dir() else pull(name, folder, revision).folder


def push(folder: Path, repository: str, private: bool = False) -> str:
    """Publish a checkpoint folder; create the repository if it does not exist.

    Args:
        folder: a checkpoint that loads, with a card that has a licence.
        repository: OWNER/NAME.
        private: whether a new repository is private.
    Returns:
        The address of the commit.
    Raises:
        ConfigError: the name of the repository is invalid.
        CheckpointError: the folder is not a complete checkpoint, or is a voice, or its card states
            no licence.
        HubError: no user is logged in, or the Hub cannot be reached or refuses.
    """
    _check_name(repository)
    folder = resolve_checkpoint(folder)
    if is_voice(folder):
        raise CheckpointError(
            f"{folder} is a voice, and a repository of the Hub is read as one checkpoint; share it "
            "as a zip file: Download in the tab Models of the studio"
        )
    load(folder)
    if get_licence(read_card(folder)) is None:
        raise CheckpointError(
            f"{folder / CARD} states no licence, without which others may not use the weights; "
            "begin it with the lines `---`, `license: cc-by-4.0` (or the licence of your data) and "
            "`---`"
        )
    api = _api()
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(f"no user is logged in to the Hub on this machine; {LOG_IN}")
    with _hub_errors(repository):
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(MAX_BYTES),
            commit_message="Add a checkpoint of WaveNet Studio",
        )
    return str(commit.commit_url)


def _api(anonymous: bool = False) -> "HfApi":
    # The library reads these variables when it is imported. Without them it sends further requests,
    # reports which other programs are installed, and prints warnings in addition to our message.
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
        raise ConfigError(f"invalid repository {repository[:100]!r}; expected OWNER/NAME")


def _check_sizes(repository: str, sizes: dict[str, int | None]) -> None:
    for name in REQUIRED:
        if name not in sizes:
            raise CheckpointError(
                f"{repository} has no {name}; expected a checkpoint of this program"
            )
    for name, limit in MAX_BYTES.items():
        if (sizes.get(name) or 0) > limit:
            raise CheckpointError(
                f"{repository}: {name} has {sizes[name]:,} bytes; the limit is {limit:,}"
            )


@contextlib.contextmanager
def _hub_errors(repository: str, revision: str | None = None) -> Iterator[None]:
    """Convert errors of the library to a `HubError` with advice."""
    from huggingface_hub import errors

    # The base class belongs to the HTTP package that the library uses.
    http_error: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except errors.GatedRepoError:
        text = f"{repository} requires that you accept its terms; do so on its page, then {LOG_IN}"
    except errors.RepositoryNotFoundError:
        text = f"the Hub has no model {repository}, or it is private; check the name, or {LOG_IN}"
    except errors.RevisionNotFoundError:
        text = f"{repository} has no revision {revision!r}; omit --revision for the newest"
    except errors.OfflineModeIsEnabled:
        text = "HF_HUB_OFFLINE is set, so the Hub is not contacted; unset it and try again"
    except errors.HfHubHTTPError as error:
        text = _describe_status(repository, error.response.status_code)
    except (http_error, ConnectionError, TimeoutError, errors.LocalEntryNotFoundError):
        text = "the Hub cannot be reached; check the connection and try again"
    except (KeyError, TypeError, ValueError):
        text = (
            "the answer is not one of the Hub; check HF_ENDPOINT, and whether a proxy or a login "
            "page of the network answers in its place"
        )
    except OSError as error:
        text = f"cannot transfer {repository}: {os_error_reason(error)}"
    else:
        return
    raise HubError(text)


def _describe_status(repository: str, status: int) -> str:
    if status == 401:
        return f"the Hub does not accept the token of this machine; {LOG_IN}"
    if status == 403:
        return (
            f"your token has no permission for this on {repository}; use another, or ask the owner"
        )
    if status == 429:
        return "the Hub received too many requests from here; wait some minutes and try again"
    if status >= 500:
        return f"the Hub has an internal error (status {status}); try again later"
    return f"the Hub refuses {repository} (status {status}); check the name and try again"
