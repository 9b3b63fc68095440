"""`wavenet hub pull` and `push`: repository of the Hugging Face Hub <-> checkpoint folder.

Input: options of the command line. Output: a folder or an address on stdout. Called by `main`.
"""

from pathlib import Path
from typing import Annotated

import typer

from wavenet.cli.options import OverwriteOption, print_message
from wavenet.terminal import print_line

app = typer.Typer(
    help="Download checkpoints from the Hugging Face Hub, or publish them.", no_args_is_help=True
)
RepositoryArgument = Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub.")
]


@app.command()
def pull(
    repository: RepositoryArgument,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit; by default the newest.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder to create; by default NAME in the current folder."
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Download a checkpoint, check that it loads, and print its folder."""
    from wavenet.sharing import hub

    folder = out or Path(repository.rpartition("/")[2])
    pulled = hub.pull(repository, folder, revision, overwrite)
    print_line(folder)
    licence = pulled.licence or "not stated; ask the authors before you use it"
    print_message(f"{repository} at {pulled.commit}; licence: {licence}")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    repository: RepositoryArgument,
    private: Annotated[
        bool, typer.Option("--private", help="If the repository is new, create it as private.")
    ] = False,
) -> None:
    """Publish a checkpoint and print its address; its card must state a licence."""
    from wavenet.sharing import hub

    print_line(hub.push(folder, repository, private))
