"""Patterns that read fields from the names of files and of their folders.

Input: a pattern such as "{digit}_{speaker}_*" or "{label}/{take}", and a path. Output: the fields,
or the reason why the path does not fit. The time is linear in the length of the path, for any
pattern. `guess_pattern` suggests a pattern for given paths. Called by `audio_metadata` and
`dataset_report`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from audio_utils.audio_formats import AUDIO_SUFFIXES, readable_suffixes
from wavenet.errors import DataError

MAX_FIELDS = 8
IGNORED = "*"  # a part that is not a field


@dataclass(frozen=True)
class NameMatch:
    """The result of matching a path.

    Attributes:
        fields: by name; None if the path does not fit.
        problem: what was expected and what was found; "" if the path fits.
    """

    fields: dict[str, str] | None
    problem: str = ""


class NamePattern:
    """A pattern of the end of a path without its suffix; "/" separates folders.

    A path fits if there is exactly one way to divide it into the fields and the texts between them.
    A field has at least one character, and none of them is "/". The same holds for "*", whose text
    is ignored.

    Attributes:
        text: the pattern.
        fields: names of the fields, in order.

    Args:
        text: as `text`; an audio suffix at its end is ignored.
    Raises:
        DataError: no field, more than `MAX_FIELDS`, one of them twice, or two without a text
            between them.
    """

    def __init__(self, text: str):
        self.text = text
        suffix = next((s for s in AUDIO_SUFFIXES if text.lower().endswith(s)), "")
        without_suffix = text[: len(text) - len(suffix)]
        self._components = [_PatternComponent(part) for part in without_suffix.split("/")]
        self.fields = [
            name for component in self._components for name in component.names if name != IGNORED
        ]
        if not self.fields or len(set(self.fields)) != len(self.fields):
            raise DataError(
                f"the pattern {text!r} must name each field once, as in {{digit}}_{{speaker}}"
            )
        if len(self.fields) > MAX_FIELDS:
            raise DataError(
                f"the pattern {text!r} has {len(self.fields)} fields; at most {MAX_FIELDS} are "
                "possible, so write * for those that you do not need as labels"
            )
        if any("" in component.texts[1:-1] for component in self._components):
            raise DataError(
                f"the pattern {text!r} has two fields, or * and a field, without a text between "
                "them, so they cannot be separated; write a text between, as in {digit}_{speaker}"
            )

    def match(self, path: str) -> NameMatch:
        """Match the end of a path, relative to the folder of recordings, with "/" and suffix."""
        *folders, name = path.split("/")
        parts = [*folders, name.rpartition(".")[0] or name]
        count = len(self._components)
        if len(parts) < count:
            above = f"{len(folders)} folders above the name, expected {count - 1}"
            return NameMatch(None, above)
        fields: dict[str, str] = {}
        for component, part in zip(self._components, parts[-count:], strict=True):
            values = component.split(part)
            if values is None:
                return NameMatch(None, component.describe_problem(part))
            fields |= values
        return NameMatch(fields)


class _PatternComponent:
    """One component of a pattern, between two "/".

    Attributes:
        names: of its fields; `IGNORED` for a part that is not one.
        texts: before, between and after the fields, so one more than `names`.
    """

    def __init__(self, pattern: str):
        parts = re.split(r"(\{[A-Za-z_][A-Za-z0-9_]*\}|\*)", pattern)
        self.names, self.texts = [part.strip("{}") for part in parts[1::2]], parts[::2]

    def split(self, text: str) -> dict[str, str] | None:
        """Return the fields; None if there is no way to divide the text, or more than one.

        The texts between the fields are searched from the left, then from the right. These are
        their first and their last possible positions, so the division is unique if they agree.
        """
        if not self.names:
            return {} if text == self.texts[0] else None
        first, *between, last = self.texts
        begin, end = len(first), len(text) - len(last)
        if begin >= end or not (text.startswith(first) and text.endswith(last)):
            return None
        starts, position = [], begin
        for literal in between:
            found = text.find(literal, position + 1, end)
            if found < 0:
                return None
            starts.append(found)
            position = found + len(literal)
        if position >= end:
            return None
        position = end
        for literal, start in zip(reversed(between), reversed(starts), strict=True):
            position = text.rfind(literal, begin + 1, position - 1)
            if position != start:
                return None
        stops = [*starts, end]
        begins = [begin, *(s + len(t) for s, t in zip(starts, between, strict=True))]
        values = [text[a:b] for a, b in zip(begins, stops, strict=True)]
        named = zip(self.names, values, strict=True)
        return {name: value for name, value in named if name != IGNORED}

    def describe_problem(self, text: str) -> str:
        """Return why a text that cannot be divided does not fit."""
        between = set(self.texts[1:-1])
        if len(between) != 1:
            return f"{text!r} does not fit"
        (separator,) = between
        expected, found = len(self.names), len(text.split(separator))
        parts = f"{found} {'part' if found == 1 else 'parts'} separated by {separator!r}"
        if found == expected:
            return f"{text!r} does not fit"
        return f"{parts}, expected {expected}"


def guess_pattern(paths: Sequence[str], names: Sequence[str] = ()) -> str | None:
    """Suggest a pattern of fields, such as "{field1}_{field2}" or "{label}/{take}".

    Args:
        paths: of files, relative to their folder, with or without suffix.
        names: of the first fields of the file names, instead of field1, field2, ...
    Returns:
        None if no part of the names or of the folders has a value that several, but not all, files
        share, or if the paths differ in their form.
    """
    files = [path.rpartition("/")[2] for path in paths]
    stems = [_without_audio_suffix(file) for file in files]
    in_name, in_folders = _guess_name_pattern(stems), _guess_folder_pattern(paths)
    for n, name in enumerate(names, start=1):
        in_name = in_name and in_name.replace(f"{{field{n}}}", f"{{{name}}}")
    if in_folders is None:
        return in_name
    return f"{in_folders}/{in_name or '{take}'}"


def _without_audio_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in readable_suffixes() else name


def _guess_name_pattern(stems: Sequence[str]) -> str | None:
    """Suggest a pattern of file names that all have the same separators."""
    for separators in ("_-", "_", "-"):
        shapes = {tuple(c for c in stem if c in separators) for stem in stems}
        parts = [re.split(f"[{separators}]", stem) for stem in stems]
        if len(shapes) != 1 or () in shapes or not all(map(all, parts)):
            continue
        columns = list(zip(*parts, strict=True))
        if len(columns) <= MAX_FIELDS and any(1 < len(set(c)) < len(stems) for c in columns):
            fields = [f"{{field{n}}}" for n in range(1, len(columns) + 1)]
            return "".join(map("".join, zip(fields, (*shapes.pop(), ""), strict=True)))
    return None


def _guess_folder_pattern(paths: Sequence[str]) -> str | None:
    """Suggest a pattern of the folders, if all files are at one depth below several folders."""
    folders = [path.split("/")[:-1] for path in paths]
    if len({len(parts) for parts in folders}) != 1:
        return None
    levels = list(zip(*folders, strict=True))
    first = next((n for n, level in enumerate(levels) if 1 < len(set(level)) < len(paths)), None)
    if first is None:
        return None
    count = len(levels) - first
    names = ["label"] if count == 1 else [f"folder{n + 1}" for n in range(count)]
    return "/".join(f"{{{name}}}" for name in names[:4])
