"""The component of the viewer, and the part of the page's head that loads its scripts.

Output: a `gr.HTML` whose value is a message of `panels.viewer_message`. Called by the tabs.
"""

from pathlib import Path

import gradio as gr
from matplotlib import colormaps
from matplotlib.colors import to_hex

from wavenet.ui.templates import scripted_html

_HERE = Path(__file__).parent
_VENDOR = _HERE.parent / "vendor" / "uplot"
_SCRIPTS = (_VENDOR / "uPlot.iife.min.js", _HERE / "panel_drawing.js", _HERE / "clip_files.js")
COLOUR_MAPS = ("magma", "viridis", "gray", "coolwarm")


def make_viewer(elem_id: str, placeholder: str) -> gr.HTML:
    """Build a viewer.

    Args:
        elem_id: of the component.
        placeholder: text before the first clip.
    """
    colours = colour_tables()
    return scripted_html("viewer/viewer", elem_id, placeholder=placeholder, colours=colours)


def colour_tables() -> dict[str, str]:
    """Return the 256 colours of each map as hexadecimal digits, six per colour."""
    return {
        name: "".join(to_hex(colormaps[name](n))[1:] for n in range(256)) for name in COLOUR_MAPS
    }


def viewer_head() -> str:
    """Return the HTML that loads uPlot and the drawing with the page, not from another server."""
    style = (_VENDOR / "uPlot.min.css").read_text(encoding="utf-8")
    scripts = "".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in _SCRIPTS)
    return f"<style>{style}</style>{scripts}"
