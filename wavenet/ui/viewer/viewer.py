"""The component of the viewer, and the part of the page's head that loads uPlot.

Output: a `gr.HTML` whose value is a message of `panels.viewer_message`. Called by the tabs.
"""

from pathlib import Path

import gradio as gr
from matplotlib import colormaps
from matplotlib.colors import to_hex

from wavenet.ui.templates import scripted_html

_VENDOR = Path(__file__).parents[1] / "vendor" / "uplot"
COLOUR_MAPS = ("magma", "viridis", "gray", "coolwarm")


def make_viewer(elem_id: str, placeholder: str) -> gr.HTML:
    """Build a viewer.

    Args:
        elem_id: of the component.
        placeholder: text before the first clip.
    """
    return scripted_html("viewer/viewer", elem_id, placeholder=placeholder, colours=colour_tables())


def colour_tables() -> dict[str, str]:
    """Return the 256 colours of each map as hexadecimal digits, six per colour."""
    return {
        name: "".join(to_hex(colormaps[name](n))[1:] for n in range(256)) for name in COLOUR_MAPS
    }


def viewer_head() -> str:
    """Return the HTML that loads uPlot with the page; no file of another server is needed."""
    script = (_VENDOR / "uPlot.iife.min.js").read_text(encoding="utf-8")
    style = (_VENDOR / "uPlot.min.css").read_text(encoding="utf-8")
    return f"<style>{style}</style><script>{script}</script>"
