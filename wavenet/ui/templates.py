"""HTML of the page from templates, with all values escaped.

Input: the name of a template in `templates/`, and values. Output: HTML. Called by the tabs.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_UI = Path(__file__).parent


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(_UI)
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def render(template: str, **values: Any) -> str:
    """Return the HTML of a template.

    Args:
        template: path inside this package, for example "templates/facts.html".
        values: the variables of the template.
    """
    return _environment().get_template(template).render(**values)


def scripted_html(
    name: str,
    elem_id: str,
    value: Any = None,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    **values: Any,
) -> gr.HTML:
    """Build a component from NAME.html, NAME.css and NAME.js.

    Args:
        name: path inside this package without a suffix, for example "viewer/viewer".
        elem_id: of the component.
        value: first value; the script receives each new one.
        scripts: names of scripts that are joined before NAME.js, so that it can call them.
        styles: names of style sheets that are joined before NAME.css.
        values: the variables of the template.
    """
    sheets = [_UI / f"{style}.css" for style in (*styles, name)]
    return gr.HTML(
        value,
        html_template=render(f"{name}.html", **values),
        css_template="\n".join(
            sheet.read_text(encoding="utf-8") for sheet in sheets if sheet.is_file()
        ),
        js_on_load="\n".join(
            (_UI / f"{script}.js").read_text(encoding="utf-8") for script in (*scripts, name)
        ),
        elem_id=elem_id,
    )
