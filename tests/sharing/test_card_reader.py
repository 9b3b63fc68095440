"""Model cards: the licence is found, and hostile cards become harmless HTML."""

import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from wavenet.errors import CheckpointError
from wavenet.sharing.card_reader import (
    MAX_CARD_BYTES,
    MAX_PARAGRAPH,
    first_paragraph,
    get_licence,
    read_card,
    render_html,
    split_front_matter,
)

TAGS = "p h3 h4 h5 h6 ul ol li em strong code pre blockquote hr br table thead tbody tr th td a"
HARMLESS = set(TAGS.split(" "))
ATTRIBUTES = {"href", "target", "rel", "class", "style", "start", "title"}


class Tags(HTMLParser):
    """Collects the tags, attributes and text of an HTML document."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words = set(), [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words += data


def check_harmless(html):
    """Assert that HTML has only harmless tags and attributes; return its parsed tags."""
    seen = Tags(html)
    assert seen.tags <= HARMLESS, seen.tags - HARMLESS
    for name, value in seen.attributes:
        assert name in ATTRIBUTES, name
        if name == "href":
            assert value.lower().startswith(("http://", "https://")), value
        if name == "style":
            assert value.startswith("text-align:"), value
    return seen


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a <b onmouseover=alert(1)>b</b> <style>*{display:none}</style>",
    "<iframe src=https://evil.example></iframe>",
    "<svg/onload=alert(1)>",
    "<!-- --> <![CDATA[ <script> ]]> <?php ?>",
    "[x](javascript:alert(1)) [x](JaVaScRiPt:alert(1)) [x](java&#10;script:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>) [x](vbscript:x) [x](file:///etc/passwd)",
    "<javascript:alert(1)> <https://e.example/%22onclick=alert(1)>",
    '[x](https://e.example "a\\" onclick=\\"alert(1)")',
    "[x](//evil.example) [x](../../secret) [x](#top) [x](/gradio_api/file=x)",
    "![x](https://evil.example/pixel.png) ![x](data:image/svg+xml,<svg/>)",
    "[![x](https://evil.example/a.png)](javascript:alert(1))",
    "[r]: javascript:alert(1)\n\n[r] ![r]",
    '```"onclick=alert(1) x="\n<script>\n```',
    "| a | <script> |\n|:-:|-|\n| <img src=x> | ![x](https://e.example/a.png) |",
    "<details open ontoggle=alert(1)>\n\n# H\n\n</details>",
    "# <img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;script&#62;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markdown_becomes_harmless_html(text):
    check_harmless(render_html(text))
    check_harmless(render_html(f"---\nlicense: mit\n---\n{text}"))


def test_raw_html_becomes_text_and_images_their_description():
    seen = check_harmless(render_html("<b>bold</b> ![a *mel*](https://e.example/a.png)"))
    assert seen.words.strip() == "<b>bold</b> [image: a *mel*]"


def test_links_lead_to_web_pages_in_a_new_window():
    seen = check_harmless(render_html("[web](https://e.example/a) and [file](../a.md)"))
    assert seen.attributes == [
        ("href", "https://e.example/a"),
        ("target", "_blank"),
        ("rel", "noopener noreferrer nofollow"),
    ]
    assert seen.words.strip() == "web and file"


LICENCES = {
    "digits": "cc-by-sa-4.0",
    "kathleen": "cc0-1.0",
    "lossless": "cc-by-sa-4.0",
    "overdrive": "bsd-3-clause",
    "strings": "cc0-1.0",
    "vocoder": "cc-by-sa-4.0",
}


def test_cards_of_this_project_are_rendered_completely():
    found = sorted(Path(__file__).parents[2].glob("checkpoints/*/README.md"))
    # checkpoints/compare is a collection, not a checkpoint
    cards = [path for path in found if (path.parent / "config.json").exists()]
    assert len(cards) == 6
    for path in cards:
        seen = check_harmless(render_html(read_card(path.parent)))
        assert {"h3", "h4", "table", "td", "pre", "a"} <= seen.tags
        assert "library_name" not in seen.words
        assert get_licence(read_card(path.parent)) == LICENCES[path.parent.name]


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\n# x", "mit"),
        ('---\ntags:\n- a\nlicense: "cc0-1.0"\n---\n', "cc0-1.0"),
        ("---\r\nlicense: mit\r\n---\r\n", "mit"),
        ("\ufeff---\nlicense: mit\n---", "mit"),
        ("---\nlicense: other\nlicense_name: my-own\n---\n", "my-own"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense:\n---\n", None),
        ("---\nlicense: mit\n", None),
        ("license: mit\n", None),
        ("", None),
        ("# x\n---\nlicense: mit\n---\n", None),
    ],
)
def test_the_licence_is_read_from_the_front_matter(text, licence):
    assert get_licence(text) == licence


def test_the_front_matter_is_not_part_of_the_text():
    assert split_front_matter("---\na: b\n---\n# x\n---\ny") == ({"a": "b"}, "# x\n---\ny")
    assert split_front_matter("---\na: b\n") == ({}, "---\na: b\n")


def test_missing_and_invalid_cards(tmp_path):
    assert read_card(tmp_path) == ""
    card = tmp_path / "README.md"
    card.write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match="not text"):
        read_card(tmp_path)
    card.write_bytes(b"x" * (MAX_CARD_BYTES + 1))
    with pytest.raises(CheckpointError, match="limit of a card"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "pattern", ["[", "![", "*a_", "> ", "- ", "`", "<a", "|", "&#", "[a](", "~~"]
)
def test_no_card_takes_long_to_render(pattern):
    text = pattern * (MAX_CARD_BYTES // 4 // len(pattern))
    start = time.process_time()
    check_harmless(render_html(text))
    check_harmless(render_html(text.replace(pattern, pattern + "\n", len(text) // 20)))
    assert time.process_time() - start < 4  # the slowest takes 0.5 s on an idle machine


@pytest.mark.parametrize(
    ("text", "paragraph"),
    [
        ("---\nlicense: mit\n---\n# Title\n\nTwo *short*\n[lines](https://x.org).\n\nMore.", None),
        ("# Title\n\n![picture](x.png)\n\nTwo short lines.", None),
        ("- a list\n\nTwo short lines.", None),
        ("# Title only", ""),
        ("", ""),
        ("x" * 1000, "x" * MAX_PARAGRAPH),
    ],
)
def test_first_paragraph_is_plain_text(text, paragraph):
    assert first_paragraph(text) == ("Two short lines." if paragraph is None else paragraph)


def test_a_comment_is_not_the_first_paragraph():
    comment = "<!-- Written by a program. Remove this line to keep your changes. -->"
    assert first_paragraph(f"{comment}\n\n# Name\n\nA model.\n") == "A model."
    assert first_paragraph(f"{comment}\n") == ""


def test_comments_are_not_rendered():
    comment = "<!-- Written by a program. -->"
    shown = render_html(f"{comment}\n\n{comment}\n\n# Name\n\nA model.\n")
    assert "program" not in shown
    assert "<p>" in shown
    assert shown.count("<p>") == 1
