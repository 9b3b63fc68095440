"""WaveNet Studio: train, run, inspect and check autoregressive models of raw audio.

```python
import wavenet

model = wavenet.load("digits")
clip = model.generate(digit=7, speaker="theo", seed=1)
clip.save("seven.wav")
print(model.score("seven.wav", digit=7, speaker="theo").bits_per_sample)
```

The names of `__all__` are the public interface. They are imported at their first use, so that
`import wavenet` is fast and imports no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavenet.errors import WaveNetError
    from wavenet.interface.audio_clip import AudioClip
    from wavenet.interface.compressed_audio import compress, decompress, verify
    from wavenet.interface.loaded_model import Model, list_models, load
    from wavenet.interface.training_run import train
    from wavenet.likelihood.score import Score
    from wavenet.speech.text_to_phones import text_to_phones

__version__ = "0.1.0"

__all__ = [
    "AudioClip",
    "Model",
    "Score",
    "WaveNetError",
    "compress",
    "decompress",
    "list_models",
    "load",
    "text_to_phones",
    "train",
    "verify",
]

_MODULES = {
    "AudioClip": "wavenet.interface.audio_clip",
    "Model": "wavenet.interface.loaded_model",
    "Score": "wavenet.likelihood.score",
    "WaveNetError": "wavenet.errors",
    "compress": "wavenet.interface.compressed_audio",
    "decompress": "wavenet.interface.compressed_audio",
    "list_models": "wavenet.interface.loaded_model",
    "load": "wavenet.interface.loaded_model",
    "text_to_phones": "wavenet.speech.text_to_phones",
    "train": "wavenet.interface.training_run",
    "verify": "wavenet.interface.compressed_audio",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
