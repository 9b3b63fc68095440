"""Check a GPU engine against `cached` on this device before `auto` uses it.

Input: an engine. Output: "", or the first difference. The draws are compared with the engine
`cached` on the same device, for a few hundred samples of the given model, with one stream and with
several. An exception counts as a failure. The result is stored in the user's cache; its key
contains the device, the versions of the libraries, the source of the engines and the config of the
model. So a check costs about one second, and only the first time. Called by `registry`.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import wavenet
from audio_utils.atomic_files import atomic_file
from wavenet.cache_folders import user_cache
from wavenet.engines.cached import CachedEngine
from wavenet.engines.engine import Engine
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditioning import Conditioning
from wavenet.model.frame_features import example_conditions
from wavenet.sampling import SamplingConfig, rows_per_clip

SAMPLES = 256  # per check
STREAMS = (1, 8)  # few streams and many streams have different kernels
# A uniform may be shifted by this much before a different code counts as an error: engines sum in
# another order than `cached`, and probabilities differ by about 1e-6 in float32.
CDF_TOLERANCE = 1e-4
PARAMS_TOLERANCE = (
    1e-3  # of the params of the last prediction, relative to 1 + their largest magnitude
)

_ENGINES = Path(__file__).parent
_logger = logging.getLogger(__name__)


def check_engine(engine: Engine[Any]) -> str:
    """Return the first difference of an engine from `cached` on its device, or "".

    A failure is logged as a warning, once per process.
    """
    key = _key(engine)
    known = _read_results()
    if key not in known:
        known = {**known, key: compare_with_cached(engine)}
        _write_results(known)
    if known[key]:
        _warn_once(f"the engine {engine.name} is not used: {known[key]}")
    return known[key]


def compare_with_cached(engine: Engine[Any]) -> str:
    """Generate with an engine and check every draw; return "" or the first difference."""
    try:
        for streams in STREAMS:
            reason = _compare(engine, streams, SamplingConfig())
            if reason:
                return reason
        return ""
    except Exception as error:  # a kernel may raise anything; `auto` then tries the next engine
        return f"it failed with {type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"


@torch.no_grad()
def _compare(engine: Engine[Any], streams: int, sampling: SamplingConfig) -> str:
    """Draw with the engine, then predict its codes with `cached` and check every draw."""
    model = engine.model
    generator = torch.Generator().manual_seed(streams)
    noise = torch.rand(streams, SAMPLES, generator=generator).to(model.device)
    conditioning = _example_conditioning(model, streams * rows_per_clip(sampling))
    state = engine.start(conditioning)
    codes = engine.run(state, SAMPLES, sampling, noise)
    cached = CachedEngine(model)
    followed = cached.start(conditioning)
    sample = model.distribution.sample
    for t in range(SAMPLES):
        params, u = cached.predict(followed)[:, :, None], noise[:, t : t + 1]
        lowest = sample(params, (u - CDF_TOLERANCE).clamp(min=0), sampling)
        highest = sample(params, (u + CDF_TOLERANCE).clamp(max=1 - 2**-24), sampling)
        drawn = codes[:, t : t + 1]
        if bool(((drawn < lowest) | (drawn > highest)).any()):
            return f"with {streams} streams, sample {t} differs from the engine cached"
        cached.accept(followed, codes[:, t])
    return _compare_params(engine.predict(state), cached.predict(followed), streams)


def _compare_params(found: Tensor, expected: Tensor, streams: int) -> str:
    """Compare the last predictions; return "" or the difference."""
    limit = PARAMS_TOLERANCE * (1 + float(expected.abs().max()))
    difference = float((found - expected).abs().max())
    if difference <= limit:  # false for NaN
        return ""
    return (
        f"with {streams} streams, the prediction after {SAMPLES} samples differs by "
        f"{difference:.2g} from the engine cached; rounding explains at most {limit:.2g}"
    )


def _example_conditioning(model: AutoregressiveModel[Any], rows: int) -> Conditioning:
    values, frames = example_conditions(model.config)
    return model.conditioning([values] * rows, [2 * SAMPLES] * rows, [frames] * rows)


def _key(engine: Engine[Any]) -> str:
    """Return a digest of all facts on which a result depends."""
    device = engine.model.device
    facts: dict[str, Any] = {
        "engine": engine.name,
        "precision": getattr(engine, "precision", "fp32"),
        "project": wavenet.__version__,
        "sources": _source_digest(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": device.type,
        "classes": engine.model.n_classes,
        "model": json.loads(engine.model.config.model_dump_json()),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["device"] = f"{properties.name} {properties.major}.{properties.minor}"
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _source_digest() -> str:
    """Return a digest of the source of the engines and of the models."""
    digest = hashlib.sha256()
    for folder in (_ENGINES, _ENGINES.parent / "model"):
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".cu", ".cuh")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def results_path() -> Path:
    """Return the file of the stored results, in the user's cache; without one, a null device."""
    base = user_cache() or Path(os.devnull)
    return base / "wavenet-studio" / "verified-engines.json"


def _read_results() -> dict[str, str]:
    """Read the stored results; {} if the file is missing or damaged."""
    try:
        found = json.loads(results_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(key): str(value) for key, value in found.items()}


def _write_results(results: Mapping[str, str]) -> None:
    """Store results, if the cache is writable."""
    path = results_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        _logger.info("the results of engine checks cannot be stored in %s: %s", path, error)


@cache
def _warn_once(text: str) -> None:
    _logger.warning(text)
