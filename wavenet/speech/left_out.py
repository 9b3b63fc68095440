"""What a text contains that is not read: emoji, other scripts, control characters, tags, symbols.

Each kind is reported once per text, in one sentence with its first example. Called by
`normalisation.py`.
"""

import re
import unicodedata
from dataclasses import dataclass, field

# Written for the eye only, or parts of other characters: left out without a notice.
_SILENT = frozenset("*_`~|^{}[]()<>\"'“”‘’‚„«»‹›´¨·•‣◦\\/-‐‑–—―.…,;:!?¡¿ªº\u00a0\u3000")
_SILENT_CATEGORIES = frozenset(["Mn", "Mc", "Me", "Cf", "Zs", "Zl", "Zp", "Pd", "Po", "Ps", "Pe"])
_EMOJI = re.compile("[\u231a\u231b\u23e9-\u23fa\u2600-\u27bf\u2b1b-\u2b55\U0001f000-\U0001faff]")


@dataclass
class LeftOut:
    """The kinds that were reported before, and the notices that were not delivered yet."""

    _reported: set[str] = field(default_factory=set)
    _notices: list[str] = field(default_factory=list)

    def report(self, kind: str, example: str) -> None:
        """Add the notice of a kind unless the kind was reported before.

        Args:
            kind: begins the sentence, such as "emoji".
            example: ends it.
        """
        if kind not in self._reported:
            self._reported.add(kind)
            self._notices.append(f"{kind} are left out, such as {example}")

    def report_characters(self, text: str) -> None:
        """Report what a run of characters is that cannot be read; some are silent."""
        character = text[0]
        category = unicodedata.category(character)
        if character in _SILENT or character.isspace() or category in _SILENT_CATEGORIES:
            return
        code = f"U+{ord(character):04X}"
        name = unicodedata.name(character, "").lower()
        if category == "Cc":
            self.report("control characters", code)
        elif _EMOJI.match(character):
            self.report("emoji", f"{character} ({name or code})")
        elif category[0] in "LN" and name:
            script = name.split()[0].capitalize()
            self.report(f"letters of other scripts ({script})", _shorten(text))
        elif category[0] == "C":
            self.report("characters without a meaning", code)
        else:
            self.report("symbols without a reading", f"{character} ({name or code})")

    def report_tag(self, tag: str) -> None:
        """Report a tag, such as `<break/>`."""
        self.report("tags", _shorten(tag))

    def take_notices(self) -> tuple[str, ...]:
        """Return the notices since the last call."""
        notices, self._notices = tuple(self._notices), []
        return notices


def _shorten(text: str) -> str:
    return text if len(text) <= 30 else text[:30] + ".."
