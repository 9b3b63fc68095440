"""Damaged and hostile files of effects: one sentence, bounded memory, never another exception."""

import copy
import itertools
import json
import tracemalloc

import numpy as np
import pytest

from tests.effects.random_effects import (
    EFFECTS,
    OTHERS,
    WAVENETS,
    array,
    container,
    document_of,
    encode,
    linear,
    series,
)
from tests.effects.random_pedal import make_document, make_tensors
from wavenet.effects.nam_file import MAX_FILE_BYTES, MAX_NESTING, parse_nam, read_nam
from wavenet.effects.pedalnet_file import parse_pedalnet
from wavenet.errors import EffectFileError

WRONG = (
    None, True, False, 0, -1, 1, 3, 1.5, -0.0, 1 << 31, 1 << 64, 10**400, 1e300, "", "x", "Tanh",
    "\ud800", [], [None], [[]], [1, 2], {}, {"type": "x"}, {"active": True}, {"a": {"b": []}},
)  # fmt: skip
MAX_MEMORY = 400 << 20


def read(content, parse=parse_nam):
    """Return "" for a file that is read, otherwise the sentence of its error."""
    try:
        parse(content, "hostile.nam")
    except EffectFileError as error:
        text = str(error)
        assert text
        assert "\n" not in text
        assert len(text) < 1500
        assert text.isprintable()
        return text
    return ""


def paths_of(value, depth=0):
    """Yield the paths of all values of a document; of long lists the ends."""
    if depth > 8:
        return
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = [(i, value[i]) for i in sorted({0, len(value) - 1}) if value]
    else:
        return
    for key, inner in items:
        yield (key,)
        for path in paths_of(inner, depth + 1):
            yield (key, *path)


def change(document, path, new):
    """Return a copy with another value; `...` removes it."""
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if new is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return changed


SEEDS = {name: EFFECTS[name] for name in ("legacy gated", "everything", *OTHERS)}


@pytest.mark.parametrize("name", SEEDS)
def test_values_of_wrong_types(name):
    document = SEEDS[name]
    rng = np.random.default_rng(len(name))
    cases = list(itertools.product(paths_of(document), (*WRONG, ...)))
    chosen = rng.permutation(len(cases))[:150]
    refused = sum(bool(read(encode(change(document, *cases[i])))) for i in chosen)
    assert len(chosen) >= 60
    assert refused >= 60


@pytest.mark.parametrize("name", ["legacy gated", "everything", "series in a container", "LSTM"])
def test_files_that_are_cut(name):
    content = encode(EFFECTS[name])
    lengths = np.linspace(0, len(content) - 1, 80).astype(int)
    assert all(read(content[:length]) for length in lengths)


@pytest.mark.parametrize("name", [n for n in SEEDS if SEEDS[n]["weights"]])
def test_wrong_numbers_of_weights(name):
    document = SEEDS[name]
    weights = document["weights"]
    counts = {*range(40), len(weights) - 1, len(weights) + 1, 2 * len(weights), 50_000}
    counts |= set(range(len(weights) + 2, len(weights) + 30))
    for count in sorted(counts - {len(weights)}):
        text = read(encode(document | {"weights": [0.25] * count}))
        assert "missing" in text or "surplus" in text


@pytest.mark.parametrize("parse", [parse_nam, parse_pedalnet])
def test_bytes_that_are_changed(parse):
    seed = WAVENETS["legacy gated"] if parse is parse_nam else make_document(make_tensors())
    content = encode(seed)
    rng = np.random.default_rng(3)
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(0, 256)
        read(bytes(damaged), parse)
    for _ in range(60):
        start, end = np.sort(rng.integers(0, len(content), 2))
        read(content[:start] + content[end:], parse)
        read(content[:end] + content[start:], parse)


def bombs():
    """Yield contents that need far more memory or depth than their size suggests."""
    for count in (10, 500, 20_000, 120_000):
        for opened, closed in (("[", "]"), ('{"a":', "}"), ('{"config":[', "]}"), ("[[],", "]")):
            yield f"{opened * count}1{closed * count}"
            yield opened * count
            yield f'{{"version": "0.7.0", "metadata": {opened * count}1{closed * count}}}'
    for item in ("{}", "[]", '""', '"ab"', "1", "1.5", "null", '{"a":1}', "[[[[]]]]"):
        yield f"[{','.join([item] * 120_000)}]"
        weights = f"[{','.join([item] * 120_000)}]"
        yield encode(linear() | {"weights": "@"}).decode().replace('"@"', weights)
    keys = ",".join(f'"k{i}":1' for i in range(150_000))
    yield f"{{{keys}}}"
    yield f'{{"version": "{"0" * 1_000_000}.1.1"}}'
    yield f'{{"sample_rate": {"9" * 5_000}}}'
    yield f'{{"a": "{"x" * 1_000_000}"}}'


def huge_configs():
    """Yield configs that describe enormous models with few weights."""
    for key in ("channels", "bottleneck", "condition_size", "input_size", "kernel_size"):
        for size in (1 << 10, 1 << 12, 1 << 20, 1 << 62):
            yield array() | {key: size}
            yield array(1024) | {key: size}
    for dilations in ([1 << 20] * 256, [1] * 3_000, [1 << 40], [1 << 18] * 7):
        yield array(1024, dilations)
        yield array(1, dilations)
    head = {"out_channels": 1024, "kernel_size": 4096, "bias": True, "head_dilation": 1 << 20}
    for value in (head, head | {"out_channels": 1 << 30}, head | {"kernel_size": 1 << 30}):
        yield array(head=value)
    for size in (1 << 10, 1 << 30):
        yield array(head1x1={"active": True, "out_channels": size, "groups": 1})
    yield array(activation={"type": "PReLU", "negative_slopes": [0.1] * 3_000})


@pytest.fixture
def memory():
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.slow
def test_bombs_need_bounded_memory(memory):
    contents = list(bombs())
    held = sum(map(len, contents))
    assert len(contents) >= 60
    for content in contents:
        assert read(content.encode()), content[:50]
        assert read(content.encode(), parse_pedalnet)
    assert memory() < MAX_MEMORY + held


def test_huge_models_are_refused_before_they_are_built(memory):
    huge = list(huge_configs())
    documents = [
        {"version": "0.7.0", "architecture": "WaveNet", "weights": [0.5]}
        | {"config": {"layers": [config] * count, "head_scale": 1.0}}
        for config in huge
        for count in (1, 40)
    ]
    documents += [
        document_of("LSTM", {"input_size": 1, "hidden_size": h, "num_layers": n}, weights=[0.5])
        for h, n in ((1024, 64), (1 << 30, 1), (1, 1 << 30))
    ]
    documents += [
        document_of("Linear", {"receptive_field": n, "bias": False}, weights=[0.5])
        for n in (1 << 20, 1 << 21, 1 << 62)
    ]
    assert len(documents) >= 60
    assert all(read(json.dumps(document).encode()) for document in documents)
    assert memory() < MAX_MEMORY


def nested(make, depth):
    model = linear()
    for _ in range(depth):
        model = make(model)
    return model


def test_containers_in_containers():
    makers = (
        container,
        series,
        lambda m: container(m, m),
        lambda m: series(m, m),
        lambda m: container(series(m)),
        lambda m: document_of(
            "WaveNet", {"layers": [array()], "head_scale": 1.0, "condition_dsp": m}
        ),
    )
    texts = []
    for make in makers:
        for depth in (1, 2, 3, 5, MAX_NESTING, MAX_NESTING + 1, 12):
            if make not in makers[2:4] or depth < 12:
                texts.append(read(encode(nested(make, depth))))
    for depth in (50, 150, 200):
        for make in (container, series):
            texts.append(read(encode(nested(make, depth))))
    many = [*([linear()] * n for n in (1, 32, 33, 64, 65, 100, 1000))]
    texts += [read(encode(make(*parts))) for parts in many for make in (container, series)]
    texts += [read(encode(series(*[series(*many[1])] * n))) for n in (1, 2, 3)]
    assert len(texts) >= 60
    assert texts[0] == ""
    assert any("inside each other" in text for text in texts)
    assert any("more than 64 models" in text for text in texts)


def test_a_container_of_itself_is_only_text():
    document = container(linear())
    for part in ("model", "weights", "config", "max_value"):
        changed = copy.deepcopy(document)
        changed["config"]["submodels"][0][part] = "hostile.nam"
        assert bool(read(encode(changed))) == (part in ("model", "max_value"))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"1", b"[]", b"{}"]
)
def test_contents_without_a_model(content):
    assert read(content)
    assert read(content, parse_pedalnet)


def test_keys_that_occur_twice():
    content = encode(WAVENETS["plain"])
    assert "twice" in read(content[:-1] + b', "version": "0.5.0"}')
    assert "twice" in read(content.replace(b'"channels"', b'"channels": 1, "channels"'))


def test_paths_that_are_no_files(tmp_path):
    large = tmp_path / "large.nam"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for path in (tmp_path, tmp_path / "missing.nam", large):
        with pytest.raises(EffectFileError):
            read_nam(path)
