"""The badges of the README state the facts of this version."""

from scripts.badges import FOLDER, make_badges


def test_the_badges_are_those_of_this_version():
    """`python scripts/badges.py` writes them again."""
    files = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.svg")}
    assert files == make_badges()


def test_a_badge_contains_its_fact():
    assert "3.11 | 3.12" in make_badges()["python.svg"]
