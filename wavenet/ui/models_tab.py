"""The Models tab: facts and card of each checkpoint, download as a zip, import from zip or Hub.

The layout comes first, then the callbacks; `wavenet.sharing` reads cards and archives, and requests
checkpoints from the Hub. Input: a folder of checkpoints. Output: widgets with their events. Called
by `studio_app`.
"""

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from wavenet.checkpoint import WEIGHTS, Checkpoint
from wavenet.errors import WaveNetError
from wavenet.model.autoregressive_model import Fact
from wavenet.model.conditions import Condition, LabelCondition, NumberCondition, PositionCondition
from wavenet.sharing import card_reader, zip_archive
from wavenet.ui.checkpoint_library import list_checkpoints, load_checkpoint
from wavenet.ui.hub_download import (
    ALLOW_IMPORT,
    checkpoint_error_note,
    download_checkpoint,
    download_note,
    import_allowed,
)
from wavenet.ui.page_text import convert_user_errors, fact_list

IMPORT_DISABLED = (
    "<p class='note'>Import is disabled on this public Space: all visitors would see the imported "
    "checkpoint. Run the studio on your own machine, or set "
    f"{ALLOW_IMPORT}=1 in your own Space.</p>"
)
IMPORT_FORMAT = (
    "<p class='note'>A zip of <code>config.json</code>, <code>model.safetensors</code> and "
    "<code>README.md</code>, as <em>Download</em> creates it. No code in it is executed.</p>"
)
NO_CARD = "<p class='empty'>This checkpoint has no card, so its origin is not documented.</p>"
MAX_LABELS_SHOWN = 20
FACT_TITLES = {"receptive_field_ms": "Receptive field, time", "macs_per_sample": "Per sample"}
FACT_UNITS = {
    "receptive_field": " samples",
    "receptive_field_ms": " ms",
    "macs_per_sample": " MACs",
}
ABOUT = (
    (
        "About",
        "WaveNet Studio is an open WaveNet: a neural network that predicts each audio sample from "
        "the previous ones. The program has the MIT licence; every checkpoint has its own licence, "
        "which its card states.",
    ),
    (
        "Privacy",
        "The page requests nothing from other servers. The studio contacts the Hub only when you "
        "press Download from Hub or enter a checkpoint as OWNER/NAME. No usage is counted. "
        "Recordings that you upload stay on the machine that runs the studio and are deleted "
        "within about 35 minutes; until then, anyone with the random address of the file can "
        "download it. Recordings for training are kept with the run until you delete its "
        "folder. On a Space the machine belongs to the host, and the host's rules apply.",
    ),
    (
        "Voices",
        "A voice belongs to its speaker. Train on, or continue, only recordings whose speakers "
        "have agreed to this use. When you publish a clip, state that it was generated. Do not let "
        "a person appear to say words that they did not say.",
    ),
)
OPEN_DOWNLOAD = "() => document.querySelector('#package').click()"


def tab(root: Path) -> None:
    """Build the tab and wire its events.

    Args:
        root: folder of checkpoint folders.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            choice = gr.Dropdown(list_checkpoints(root), label="Checkpoint", elem_id="model-choice")
            facts = gr.HTML(elem_id="model-facts")
            download = gr.Button("Download (.zip)", elem_id="model-download")
            # The zip is created on request; then the page presses this button itself.
            package = gr.DownloadButton("Archive", visible="hidden", elem_id="package")
            import_widgets = _import()
        with gr.Column(scale=3, min_width=300):
            card_html = gr.HTML(
                elem_id="model-card", elem_classes="card", container=True, padding=True
            )
    about = "".join(f"<div><h2>{title}</h2><p>{text}</p></div>" for title, text in ABOUT)
    gr.HTML(f"<div class='about-studio'>{about}</div>")
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    shown: list[Any] = [facts, card_html]
    choice.change(partial(show_model, root), choice, shown, **private)
    packed = download.click(partial(pack_model, root), choice, package, **private)
    packed.success(None, js=OPEN_DOWNLOAD, queue=False, **private)
    if import_widgets is not None:
        upload, repository, fetch, message = import_widgets
        upload.upload(partial(import_archive, root), upload, [upload, message, choice], **private)
        presses = [fetch.click, repository.submit]
        gr.on(presses, partial(import_from_hub, root), repository, [message, choice], **private)
    page = gr.context.Context.root_block
    assert page is not None
    page.load(partial(show_page, root), None, [choice, *shown], queue=False, **private)


def _import() -> tuple[gr.File, gr.Textbox, gr.Button, gr.HTML] | None:
    """Build the widgets that import a checkpoint, or the reason why import is disabled."""
    with gr.Accordion("Import a checkpoint", open=False, elem_id="model-import"):
        if not import_allowed():
            gr.HTML(IMPORT_DISABLED)
            return None
        gr.HTML(IMPORT_FORMAT)
        upload = gr.File(
            file_types=[".zip"],
            type="filepath",
            label="A .zip, up to 20 MB",
            height=170,
            elem_id="model-upload",
        )
        repository = gr.Textbox(
            label="Or a repository of the Hugging Face Hub",
            info="The Hub is contacted only when you press the button.",
            placeholder="OWNER/NAME, or OWNER/NAME@REVISION",
            max_length=300,
            elem_id="model-repository",
        )
        button = gr.Button("Download from Hub", elem_id="model-fetch")
        return upload, repository, button, gr.HTML(elem_id="model-message")


def show_page(root: Path) -> list[Any]:
    """List the current checkpoints, and show the first."""
    names = list_checkpoints(root)
    first = names[0] if names else None
    return [gr.update(choices=names, value=first), *show_model(root, first)]


def show_model(root: Path, name: str | None) -> tuple[str, str]:
    """Return HTML of a checkpoint's facts, or of an error, and HTML of its card."""
    try:
        checkpoint = load_checkpoint(root, name)
        text = card_reader.read_card(root / str(name))
    except WaveNetError as error:
        return checkpoint_error_note(root, error), ""
    licence = card_reader.get_licence(text) or "not stated; ask the authors"
    return fact_list(model_facts(checkpoint, licence)), card_reader.render_html(text) or NO_CARD


def model_facts(checkpoint: Checkpoint, licence: str) -> dict[str, str]:
    """Return the most important facts about a checkpoint as text."""
    config, model = checkpoint.config, checkpoint.model
    network, codec = config.model, config.codec
    megabytes = (checkpoint.folder / WEIGHTS).stat().st_size / 1e6
    return {
        "Licence": licence,
        "Sample rate": f"{config.audio.sample_rate:,} Hz",
        "Codec": f"{codec.law}, {codec.bits} bits",
        "Output distribution": network.output.kind.replace("-", " "),
        **format_facts(model.describe()),
        "Weights file": f"{megabytes:,.1f} MB",
        **{
            f"Condition: {getattr(c, 'name', 'position')}": describe_values(c)
            for c in network.conditions
        },
    }


def format_facts(facts: Mapping[str, Fact]) -> dict[str, str]:
    """Return the facts of `describe()` as text with units."""
    return {
        FACT_TITLES.get(name, name.replace("_", " ").capitalize()): format_fact(name, fact)
        for name, fact in facts.items()
    }


def format_fact(name: str, fact: Fact) -> str:
    """Return a fact as text with its unit."""
    if isinstance(fact, list):
        return f"{min(fact):,} to {max(fact):,}"
    if fact is None:
        return "unlimited"
    return fact if isinstance(fact, str) else f"{fact:,}{FACT_UNITS.get(name, '')}"


def describe_values(condition: Condition) -> str:
    """Return the possible values of a condition as text."""
    if isinstance(condition, LabelCondition):
        more = len(condition.values) - MAX_LABELS_SHOWN
        rest = [f"and {more:,} more"] if more > 0 else []
        return ", ".join([*condition.values[:MAX_LABELS_SHOWN], *rest])
    if isinstance(condition, PositionCondition):
        return "computed from the position in the clip"
    if isinstance(condition, NumberCondition):
        return condition.choice_text
    if condition.kind == "vector":
        return f"{condition.size} numbers"
    return f"{condition.columns} numbers per frame"


def pack_model(root: Path, name: str | None) -> Iterator[str]:
    """Yield the path of a zip of a checkpoint; the page keeps a copy."""
    with convert_user_errors(), tempfile.TemporaryDirectory() as folder:
        source = load_checkpoint(root, name).folder
        path = Path(folder) / f"{source.name}.zip"
        zip_archive.pack(source, path)
        yield str(path)


def import_archive(root: Path, path: str | None) -> tuple[None, str, Any]:
    """Import an uploaded archive as a checkpoint and choose it.

    Returns:
        An empty upload, a message, and the choices with the new checkpoint.
    """
    if path is None or not import_allowed():
        return None, IMPORT_DISABLED if path else "", gr.skip()
    try:
        name = zip_archive.unpack(Path(path), root).name
    except WaveNetError as error:
        return None, checkpoint_error_note(root, error), gr.skip()
    return None, *_show_imported(root, name)


def import_from_hub(root: Path, repository: str | None) -> Iterator[tuple[str, Any]]:
    """Download a checkpoint from the Hub and choose it.

    Args:
        root: folder of checkpoint folders.
        repository: OWNER/NAME or OWNER/NAME@REVISION, as the user typed it.
    Yields:
        A message, and the choices with the new checkpoint.
    """
    if not import_allowed():
        yield IMPORT_DISABLED, gr.skip()
        return
    yield download_note(repository or ""), gr.skip()
    try:
        name, downloaded = download_checkpoint(root, repository or "")
    except WaveNetError as error:
        yield checkpoint_error_note(root, error), gr.skip()
        return
    licence = downloaded.licence or "not stated; ask the authors before you use it"
    yield _show_imported(root, name, f"Commit {downloaded.commit[:12]}; licence: {licence}.")


def _show_imported(root: Path, name: str, details: str = "") -> tuple[str, Any]:
    """Return a message about a new checkpoint, and the choices with it."""
    message = (
        f"<p class='note' role='status'>{escape(name)} is imported. {escape(details)} "
        f"<a href='?checkpoint={quote(name)}'>Generate with it</a>; the other tabs list it after "
        "the page is reloaded.</p>"
    )
    return message, gr.update(choices=list_checkpoints(root), value=name)
