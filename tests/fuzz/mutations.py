"""Damage the content of a file: single bytes, blocks, and words of its text."""

import math

from hypothesis import strategies as st

# Text that parsers of numbers, names and nested structures read in a special way.
WORDS = [
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[31m", b"\n", b"\r", b"\t",
    b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"1e999", b"-1e999", b"NaN",
    b"Infinity", b"-0", b"1.5", b"9" * 30, b"9" * 5000, b"-1", b"null", b"true", b"[]", b"{}",
    b'""', b'"', b"'", b"\\", b"/", b"..", b"../../etc/passwd", b"|", b",", b";", b"=", b"#",
    b"[" * 2000, b'{"a":' * 2000, b"(" * 300, b"a." * 1500 + b"b=1\n", b"A" * 5000, b"%s%n",
    b"${HOME}", "é𝄞".encode(), b"<script>", b"[[", b"]]",
]  # fmt: skip

Change = tuple[str, float, int]
OPERATIONS = (
    "flip", "set", "insert", "delete", "cut", "double", "word", "replace", "zero", "splice",
)  # fmt: skip

changes: st.SearchStrategy[list[Change]] = st.lists(
    st.tuples(
        st.sampled_from(OPERATIONS),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 2**16 - 1),
    ),
    min_size=1,
    max_size=5,
)


def apply_changes(content: bytes, other: bytes, damage: list[Change]) -> bytes:
    """Return the content after some changes.

    Args:
        other: content of another file, from which a block may be inserted.
        damage: operation, place as a fraction of the length, and a number.
    """
    for operation, place, number in damage:
        at = math.floor(place * (len(content) + 1))
        length = 1 + number % 40
        rest = content[at:]
        match operation:
            case "flip":
                mask = 1 << number % 8
                content = content[:at] + bytes(b ^ mask for b in rest[:1]) + rest[1:]
            case "set":
                content = content[:at] + bytes([number % 256]) * len(rest[:1]) + rest[1:]
            case "insert":
                content = content[:at] + bytes([number % 256]) * length + rest
            case "delete":
                content = content[:at] + rest[length:]
            case "cut":
                content = content[:at]
            case "double":
                content = content[:at] + rest[:length] * 2 + rest[length:]
            case "word":
                content = content[:at] + WORDS[number % len(WORDS)] + rest
            case "replace":
                content = _replace_word(content, at, WORDS[number % len(WORDS)])
            case "zero":
                content = content[:at] + bytes(len(rest[:length])) + rest[length:]
            case "splice":
                begin = number % (len(other) + 1)
                content = content[:at] + other[begin : begin + 4 * length] + rest
    return content


def _replace_word(content: bytes, at: int, word: bytes) -> bytes:
    """Replace the letters and digits around a place."""
    begin = end = at
    while begin > 0 and (content[begin - 1 : begin].isalnum() or content[begin - 1] in b"._-"):
        begin -= 1
    while end < len(content) and (content[end : end + 1].isalnum() or content[end] in b"._-"):
        end += 1
    return content[:begin] + word + content[end:]
