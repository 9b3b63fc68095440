"""The settings of a user, as `config.toml` contains them.

Called by `user_settings`, only if the file exists, because pydantic takes time to import.
"""

from typing import Literal

from pydantic import Field, field_validator

from wavenet.config import StrictConfig
from wavenet.user_input.user_paths import expand_home


class UserSettings(StrictConfig):
    """Defaults of the options of the same names; None: that of the command.

    Attributes:
        checkpoint: folder or name.
        out: file or folder for generated clips.
        seed: -1 for a new one each time.
        engine, device, threads: that run the model.
    """

    checkpoint: str | None = Field(default=None, min_length=1)
    out: str | None = Field(default=None, min_length=1)
    seed: int | None = Field(default=None, ge=-1, lt=2**63)
    engine: Literal["auto", "cpu", "gpu", "graph", "cached", "reference"] | None = None
    device: str | None = Field(default=None, pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")
    threads: Literal[1, 2] | None = None

    @field_validator("checkpoint", "out")
    @classmethod
    def _expand(cls, path: str | None) -> str | None:
        return None if path is None else str(expand_home(path))
