"""Write the badges of the README: small pictures with facts of pyproject.toml and the package.

python scripts/badges.py              # writes docs/badges/*.svg

A test compares the files with the facts, so the badges are true without a service.
"""

import re
import tomllib
from pathlib import Path

import wavenet

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "badges"
CHARACTER = 6.6  # width in pixels
PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img">
<title>{label}: {value}</title>
<rect width="{width}" height="20" rx="3" fill="#0f766e"/>
<path d="M3 0h{left}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#444"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{label_x}" y="14">{label}</text>
<text x="{value_x}" y="14">{value}</text>
</g>
</svg>
"""


def make_badges() -> dict[str, str]:
    """Return the SVG text of every badge by file name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    facts = {
        "version": ("version", wavenet.__version__),
        "python": ("python", " | ".join(pythons)),
        "licence": ("licence", project["license"]),
    }
    return {f"{name}.svg": draw_badge(*fact) for name, fact in facts.items()}


def draw_badge(label: str, value: str) -> str:
    """Return a badge with a label and a value as SVG."""
    left, right = (round(CHARACTER * len(text)) + 12 for text in (label, value))
    return PICTURE.format(
        width=left + right,
        left=left - 3,
        label=label,
        value=value,
        label_x=left / 2,
        value_x=left + right / 2,
    )


def main() -> None:
    """Write all badges."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in make_badges().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
