"""JSON objects whose names differ.

Input: the names and values of an object, in their order. Output: a dict, or an error. Called by the
readers of manifests, tables and configs, as `object_pairs_hook` of `json.loads`.
"""

from collections import Counter
from typing import Any

from wavenet.errors import DataError


def unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose names differ; Python would keep the last of two equal ones.

    Raises:
        DataError: the end of a sentence that begins with "line 3".
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        name = next(name for name, count in counts.items() if count > 1)
        raise DataError(f"has {name[:100]!r} twice; keep one of them")
    return values
