"""`wavenet hub`: a repository of the Hugging Face Hub -> a checkpoint folder, and back."""

from pathlib import Path
from typing import Annotated

import typer

from wavenet.cli.options import OverwriteOption, say

app = typer.Typer(
    help="Fetch checkpoints from the Hugging Face Hub, or publish them.", no_args_is_help=True
)
RepositoryArgument = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the Hub.")]


@app.command()
def pull(
    repository: RepositoryArgument,
    revision: Annotated[
        str | None, typer.Option(help="A branch, tag or commit; the newest if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to make; NAME, in this folder, if left out.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Download a checkpoint, see that it loads, and print its folder."""
    from wavenet.sharing import hub

    folder = out or Path(repository.rpartition("/")[2])
    pulled = hub.pull(repository, folder, revision, overwrite)
    typer.echo(str(folder))
    licence = pulled.licence or "none named: ask its authors before you use it"
    say(f"{repository} at {pulled.commit}; licence: {licence}")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of the checkpoint.")],
    repository: RepositoryArgument,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is for you alone.")
    ] = False,
) -> None:
    """Publish a checkpoint whose card names a licence, and print the address."""
    from wavenet.sharing import hub

    typer.echo(hub.push(folder, repository, private))
