"""The studio app: its tabs, its theme, and the settings of its server.

Input: a folder of checkpoints. Output: the Gradio app, and the options to launch it. Called by
`app.py` and `wavenet ui`.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import gradio as gr
from gradio.routes import App

from audio_utils.audio_formats import AUDIO_SUFFIXES, FFMPEG_SUFFIXES
from wavenet.checkpoint_folders import default_root
from wavenet.ui.analyse.analyse_tab import build_analyse_tab
from wavenet.ui.clip_history.clip_actions import wire_clip_actions
from wavenet.ui.clip_history.clip_store import ClipStore
from wavenet.ui.clip_history.history_panel import make_history
from wavenet.ui.compare.compare_tab import build_compare_tab, wire_compare_tab
from wavenet.ui.compress.compress_tab import build_compress_tab
from wavenet.ui.effects.effects_tab import build_effects_tab
from wavenet.ui.generate.generate_events import Start, start_here
from wavenet.ui.generate.generate_tab import build_generate_tab
from wavenet.ui.model_bar.model_bar import build_model_bar, wire_model_bar
from wavenet.ui.models.models_tab import build_models_tab, wire_models_tab
from wavenet.ui.page import Page
from wavenet.ui.page_load import wire_page_load
from wavenet.ui.receptive_field.receptive_field_tab import build_receptive_field_tab
from wavenet.ui.server.checked_blocks import CheckedBlocks
from wavenet.ui.server.free_memory import limit_heaps
from wavenet.ui.server.gradio_compat import keep_upload_names, protect
from wavenet.ui.server.host_check import (
    HostCheck,
    allowed_hosts,
    bracketed,
    is_only_local,
    server_address,
)
from wavenet.ui.server.request_limits import RequestLimits, ShortReports
from wavenet.ui.server.server_port import check_mcp
from wavenet.ui.server.temporary_files import SWEEP_SECONDS, delete_old_files, is_private
from wavenet.ui.studio_api import register_api
from wavenet.ui.templates import render
from wavenet.ui.train.train_tab import build_train_tab, disabled_reason, wire_train_tab
from wavenet.ui.turns import Turns
from wavenet.ui.viewer.viewer import viewer_head
from wavenet.ui.watch.watch_tab import build_watch_tab

# The value 1 enables MCP without a command line, for a Space.
WITH_MCP = "WAVENET_MCP"
STORAGE_SECRET = "wavenet-studio"  # the same after a restart, so that the browser's data are kept
_HERE = Path(__file__).parent
# Fonts of the user's system, so that the page requests nothing from other servers.
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
_MONOSPACE = ["ui-monospace", "Menlo", "Consolas", "monospace"]


def build_studio(
    checkpoints: Path | None = None,
    address: str | None = None,
    allow_hosts: Iterable[str] = (),
    start: Start = start_here,
) -> CheckedBlocks:
    """Build the app.

    Args:
        checkpoints: folder of checkpoint folders, which alone is listed; default: all checkpoints
            that the command line finds by name, and `default_root` for new ones.
        address: that the server will listen on, as in `server_address`.
        allow_hosts: other names of the server, as in `allowed_hosts`.
        start: generates the clips of a job; default: in this process.
    Raises:
        ConfigError: a name is invalid.
    """
    root = checkpoints or default_root()
    keep_upload_names()
    limit_heaps()
    with CheckedBlocks(
        title="WaveNet Studio", analytics_enabled=False, delete_cache=(300, 1800)
    ) as studio:
        gr.HTML(render("templates/header.html"), elem_classes="header")
        problems = gr.HTML(visible=False, elem_id="link-problems")
        page = _build_page(root, studio.clips)
        with page.tabs:
            with gr.Tab("Generate", id="generate"):
                build_generate_tab(page, start)
            with gr.Tab("Analyse", id="analyse") as tab_item:
                build_analyse_tab(page, tab_item)
            with gr.Tab("Effects", id="effects") as tab_item:
                is_local = is_only_local(address, allow_hosts)
                build_effects_tab(page, tab_item, disabled_reason(is_local))
            with gr.Tab("Compress", id="compress") as tab_item:
                build_compress_tab(page, tab_item)
            with gr.Tab("Watch sampling", id="watch") as tab_item:
                build_watch_tab(page, tab_item)
            with gr.Tab("Receptive field", id="receptive-field") as tab_item:
                build_receptive_field_tab(page, tab_item)
            with gr.Tab("Compare", id="compare") as tab_item:
                compared = build_compare_tab(page, tab_item)
            with gr.Tab("Train", id="train") as tab_item:
                training = build_train_tab(page, tab_item, is_local)
            with gr.Tab("Models", id="models"):
                models = build_models_tab(page)
        wire_model_bar(page)
        wire_clip_actions(page)
        wire_compare_tab(page, compared)
        wire_train_tab(page, training)
        wire_models_tab(page, models, start)
        wire_page_load(page, studio, problems)
        gr.HTML(render("templates/shortcuts.html"), elem_classes="shortcuts")
        register_api(page)
    studio.queue(max_size=64, default_concurrency_limit=1, api_open=False)
    return studio


def _build_page(root: Path, clips: ClipStore) -> Page:
    """Build what all tabs share: the list of clips, the model bar, and the empty tabs."""
    with gr.Sidebar(position="right", width=320, elem_id="clips"):
        history = make_history()
    model, about, conditions = build_model_bar(root)
    return Page(
        root=root,
        clips=clips,
        turns=Turns(),
        # The secret protects nothing here: the token is random, and the settings are not secret.
        token=gr.BrowserState(None, storage_key="wavenet-visitor", secret=STORAGE_SECRET),
        saved=gr.BrowserState(None, storage_key="wavenet-settings", secret=STORAGE_SECRET),
        tabs=gr.Tabs(),
        model=model,
        about=about,
        conditions=conditions,
        history=history,
    )


def launch_options(
    port: int | None = None,
    with_mcp: bool = False,
    address: str | None = None,
    allow_hosts: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the arguments of `Blocks.launch`.

    Only this machine can reach the studio, except on a Space or by another address.

    Args:
        port: port of the server; None: GRADIO_SERVER_PORT, or the first free one from 7860 on.
        with_mcp: whether to serve the public functions also as tools of an MCP server.
        address: as in `server_address`.
        allow_hosts: other names of the server, as in `allowed_hosts`.
    Raises:
        ConfigError: the package for MCP is missing, or a name is invalid.
    """
    address = server_address(address)
    lifespan = partial(protect_server, address=address, hosts=allowed_hosts(allow_hosts))
    with_mcp = with_mcp or os.environ.get(WITH_MCP) == "1"
    if with_mcp:
        check_mcp()
    return {
        "server_name": bracketed(address),
        "server_port": port,
        "app_kwargs": {"lifespan": lifespan},
        "ssr_mode": False,
        "share": False,
        "mcp_server": with_mcp,
        "max_file_size": "20mb",
        "max_threads": 40,  # jobs that wait for their turn hold one each
        "state_session_capacity": 200,
        "show_error": False,
        "allowed_paths": [],
        "strict_cors": True,
        "enable_monitoring": False,
        "run_history": False,
        "footer_links": ["api", "settings"],
        "theme": _theme(),
        "css_paths": [_HERE / "studio_app.css"],
        "head": viewer_head() + _page_scripts(),
        # Browsers can install the page as an app, with this icon and the title of the page.
        "favicon_path": str(_HERE / "icon.svg"),
        "pwa": True,
    }


def _page_scripts() -> str:
    suffixes = f"const AUDIO_SUFFIXES = {json.dumps(AUDIO_SUFFIXES + FFMPEG_SUFFIXES)};"
    names = ("page_keys", "page_events", "audio_file_types")
    keys, events, types = ((_HERE / f"{n}.js").read_text(encoding="utf-8") for n in names)
    scripts = (keys, events, f"{{\n{suffixes}\n{types}}}")
    return "".join(f"<script>{script}</script>" for script in scripts)


@asynccontextmanager
async def protect_server(app: App, address: str, hosts: Iterable[str]) -> AsyncIterator[None]:
    """Put the checks of requests around a starting server, and delete old files while it runs."""
    folder = Path(app.uploaded_file_dir)
    folder.mkdir(parents=True, exist_ok=True)
    protect(
        app, lambda inner: HostCheck(RequestLimits(ShortReports(inner), folder), address, hosts)
    )
    studio = app.get_blocks()
    assert isinstance(studio, CheckedBlocks)
    timer = asyncio.create_task(sweep(folder, studio)) if is_private(folder) else None
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


async def sweep(folder: Path, studio: CheckedBlocks) -> None:
    """Delete expired clips and other old files every `SWEEP_SECONDS`, until cancelled."""
    first = {path for block in studio.blocks.values() for path in block.keep_in_cache}
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        studio.clips.delete_expired()
        kept = first | studio.clips.paths()
        await anyio.to_thread.run_sync(delete_old_files, folder, kept)


def _theme() -> gr.themes.Base:
    theme = gr.themes.Soft(
        primary_hue="teal", secondary_hue="slate", font=_FONTS, font_mono=_MONOSPACE
    )
    # Labels as plain text instead of pills.
    return theme.set(
        body_background_fill="*neutral_100",
        body_text_color_subdued="*neutral_500",
        block_border_width="1px",
        block_title_background_fill="transparent",
        block_title_padding="0",
        block_title_text_color="*body_text_color",
        block_title_text_weight="500",
        block_label_background_fill="*block_background_fill",
        block_label_text_color="*body_text_color",
        block_label_text_weight="500",
        block_title_background_fill_dark="transparent",
        block_title_text_color_dark="*body_text_color",
        block_label_background_fill_dark="*block_background_fill",
        block_label_text_color_dark="*body_text_color",
        # Makes unchecked circles, and the numbers beside sliders, visible on white.
        checkbox_border_color="*neutral_400",
    )
