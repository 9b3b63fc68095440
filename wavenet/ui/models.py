"""The Models tab: what each checkpoint is, with its card; take one in, or take one home.

Enters: a folder of checkpoints. Leaves: widgets and their wiring; `exchange` reads cards and
archives, and asks the Hub.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from wavenet.checkpoint import WEIGHTS, Checkpoint
from wavenet.errors import WaveNetError
from wavenet.model.base import Fact
from wavenet.model.conditions import Condition, LabelCondition, NumberCondition, PositionCondition
from wavenet.sharing import model_card, zip_archive
from wavenet.ui import fetching, jobs
from wavenet.ui.fetching import ALLOW_IMPORT, import_allowed, refused
from wavenet.ui.live import fact_list

NOT_HERE = (
    "<p class='note'>Import is off here: this is a public Space, and what one person brings would "
    f"be offered to all. Run the studio on your own machine, or set {ALLOW_IMPORT}=1 in a Space of "
    "your own.</p>"
)
HOW_TO_IMPORT = (
    "<p class='note'>A zip of <code>config.json</code>, <code>model.safetensors</code> and "
    "<code>README.md</code>, as <em>Download</em> makes it. Nothing in it is ever run.</p>"
)
NO_CARD = "<p class='empty'>This checkpoint has no card: nobody says where it comes from.</p>"
MAX_LABELS_SHOWN = 20
ABOUT = (
    (
        "About",
        "WaveNet Studio is an open WaveNet: a neural network that predicts each sample of a sound "
        "from those before it. The program is under the MIT licence; every checkpoint has one of "
        "its own, which its card states.",
    ),
    (
        "Privacy",
        "The page asks no other server for anything, the studio asks the Hub only when you press "
        "Fetch or name a checkpoint as OWNER/NAME, and no usage is counted. Recordings that you "
        "upload stay on the machine that runs the studio and are deleted within about 35 minutes; "
        "until then, whoever knows the random address of such a file can fetch it. Those that you "
        "train on are kept with the run, until you remove its folder. On a Space that machine "
        "belongs to the host, whose own rules hold.",
    ),
    (
        "Voices",
        "A voice belongs to the person who speaks. Train on, or continue, only recordings whose "
        "speakers agreed to that use, and say of what you publish that a program made it. Do not "
        "make anybody appear to say what they did not say.",
    ),
)
OPEN_DOWNLOAD = "() => document.querySelector('#package').click()"


def tab(root: Path) -> None:
    """Lay out the tab and wire it.

    Args:
        root: folder of checkpoint folders.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            choice = gr.Dropdown(
                jobs.list_checkpoints(root), label="Checkpoint", elem_id="model-choice"
            )
            facts = gr.HTML(elem_id="model-facts")
            download = gr.Button("Download (.zip)", elem_id="model-download")
            # Made when asked for; the page then presses it for the person.
            package = gr.DownloadButton("Archive", visible="hidden", elem_id="package")
            found = _import()
        with gr.Column(scale=3, min_width=300):
            read = gr.HTML(elem_id="model-card", elem_classes="card", container=True, padding=True)
    words = "".join(f"<div><h2>{title}</h2><p>{text}</p></div>" for title, text in ABOUT)
    gr.HTML(f"<div class='words'>{words}</div>")
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    shown: list[Any] = [facts, read]
    choice.change(partial(show, root), choice, shown, **private)
    made = download.click(partial(pack, root), choice, package, **private)
    made.success(None, js=OPEN_DOWNLOAD, queue=False, **private)
    if found is not None:
        upload, repository, fetch_it, news = found
        upload.upload(partial(take_in, root), upload, [upload, news, choice], **private)
        presses = [fetch_it.click, repository.submit]
        gr.on(presses, partial(fetch, root), repository, [news, choice], **private)
    page = gr.context.Context.root_block
    assert page is not None
    page.load(partial(show_page, root), None, [choice, *shown], queue=False, **private)


def show_page(root: Path) -> list[Any]:
    """List the checkpoints that there are now, and show the first."""
    names = jobs.list_checkpoints(root)
    first = names[0] if names else None
    return [gr.update(choices=names, value=first), *show(root, first)]


def show(root: Path, name: str | None) -> tuple[str, str]:
    """Describe a checkpoint.

    Returns:
        HTML of its facts, or of the sentence that says what is wrong; HTML of its card.
    """
    try:
        checkpoint = jobs.load_named(root, name)
        text = model_card.read_card(root / str(name))
    except WaveNetError as error:
        return refused(root, error), ""
    licence = model_card.get_licence(text) or "none named: ask its authors"
    return fact_list(facts_of(checkpoint, licence)), model_card.render_html(text) or NO_CARD


def pack(root: Path, name: str | None) -> Iterator[str]:
    """Yield the path of a zip of a checkpoint; the page keeps a copy."""
    with jobs.shown_errors(), tempfile.TemporaryDirectory() as folder:
        source = jobs.load_named(root, name).folder
        path = Path(folder) / f"{source.name}.zip"
        zip_archive.pack(source, path)
        yield str(path)


def take_in(root: Path, path: str | None) -> tuple[None, str, Any]:
    """Make a checkpoint of an uploaded archive and choose it.

    Returns:
        an empty upload, what to say, and the choices with the new one.
    """
    if path is None or not import_allowed():
        return None, NOT_HERE if path else "", gr.skip()
    try:
        name = zip_archive.unpack(Path(path), root).name
    except WaveNetError as error:
        return None, refused(root, error), gr.skip()
    return None, *_arrived(root, name)


def fetch(root: Path, wish: str | None) -> Iterator[tuple[str, Any]]:
    """Fetch a checkpoint from the Hub and choose it.

    Args:
        wish: OWNER/NAME or OWNER/NAME@REVISION, as it was typed.
    Yields:
        what to say, and the choices with the new one.
    """
    if not import_allowed():
        yield NOT_HERE, gr.skip()
        return
    yield fetching.asking(wish or ""), gr.skip()
    try:
        name, pulled = fetching.fetch(root, wish or "")
    except WaveNetError as error:
        yield refused(root, error), gr.skip()
        return
    licence = pulled.licence or "none named: ask its authors before you use it"
    yield _arrived(root, name, f"Commit {pulled.commit[:12]}; licence: {licence}.")


def _arrived(root: Path, name: str, more: str = "") -> tuple[str, Any]:
    """Say that a checkpoint is here, and choose it."""
    words = (
        f"<p class='note' role='status'>{escape(name)} is here. {escape(more)} "
        f"<a href='?checkpoint={quote(name)}'>Generate with it</a>; the other tabs list it once "
        "the page is loaded again.</p>"
    )
    return words, gr.update(choices=jobs.list_checkpoints(root), value=name)


def facts_of(checkpoint: Checkpoint, licence: str) -> dict[str, str]:
    """Gather what a person asks first about a checkpoint."""
    config, model = checkpoint.config, checkpoint.model
    network, codec = config.model, config.codec
    megabytes = (checkpoint.folder / WEIGHTS).stat().st_size / 1e6
    facts = model.describe().items()
    return {
        "Licence": licence,
        "Sample rate": f"{config.audio.sample_rate:,} Hz",
        "Codec": f"{codec.law}, {codec.bits} bits",
        "Output": network.output.kind.replace("-", " "),
        **{name.replace("_", " ").capitalize(): format_fact(fact) for name, fact in facts},
        "On disk": f"{megabytes:,.1f} MB",
        **{
            f"Condition: {getattr(c, 'name', 'position')}": values_of(c) for c in network.conditions
        },
    }


def format_fact(fact: Fact) -> str:
    """Format a fact about a network for a reader."""
    if isinstance(fact, list):
        return f"{min(fact):,} to {max(fact):,}"
    if fact is None:
        return "unlimited"
    return fact if isinstance(fact, str) else f"{fact:,}"


def values_of(condition: Condition) -> str:
    """Say what a condition can be given."""
    if isinstance(condition, LabelCondition):
        more = len(condition.values) - MAX_LABELS_SHOWN
        rest = [f"and {more:,} more"] if more > 0 else []
        return ", ".join([*condition.values[:MAX_LABELS_SHOWN], *rest])
    if isinstance(condition, PositionCondition):
        return "in the clip"
    if isinstance(condition, NumberCondition):
        return condition.choice_text
    if condition.kind == "vector":
        return f"{condition.size} numbers"
    return f"frames of {condition.columns}"


def _import() -> tuple[gr.File, gr.Textbox, gr.Button, gr.HTML] | None:
    """Lay out the widgets that take a checkpoint in, or the reason why there are none."""
    with gr.Accordion("Import a checkpoint", open=False, elem_id="model-import"):
        if not import_allowed():
            gr.HTML(NOT_HERE)
            return None
        gr.HTML(HOW_TO_IMPORT)
        upload = gr.File(
            file_types=[".zip"],
            type="filepath",
            label="A .zip, up to 20 MB",
            height=170,
            elem_id="model-upload",
        )
        repository = gr.Textbox(
            label="Or from the Hugging Face Hub",
            info="Nothing is asked of it before you press Fetch.",
            placeholder="OWNER/NAME, or OWNER/NAME@REVISION",
            max_length=300,
            elem_id="model-repository",
        )
        button = gr.Button("Fetch", elem_id="model-fetch")
        return upload, repository, button, gr.HTML(elem_id="model-news")
