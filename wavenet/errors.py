"""The errors that a user can meet; each message says what was expected, found, and what to do.

WaveNetError
├── ConfigError          a setting is out of its range, unknown, or contradicts another
├── ConditionError       a label or another condition is unknown, missing or of the wrong kind
├── CheckpointError      a checkpoint folder is missing, damaged or does not fit its own config
├── EngineUnavailable    the engine asked for does not exist or cannot run this model here
│   └── ModelUnsupported an engine, a tab or a command does not support this architecture
├── DataError            a training folder, its labels or a clip in it cannot be used
├── DeviceError          a GPU was lost in the middle of the work
│   └── OutOfMemory      a device has too little memory for what it was asked to do
├── FolderError          a folder to write into cannot be made or used
│   └── FolderInUse      another process is writing into it
├── HubError             the Hugging Face Hub cannot be reached, or refuses
└── TrainingError        training had to stop: a loss that is not finite, nothing to resume

`audio_utils.errors.AudioError` stands beside them. The command line and the studio turn all of
these into one sentence; any other exception is a bug and keeps its traceback.
"""


class WaveNetError(Exception):
    """Parent of every error of this package."""


class ConfigError(WaveNetError):
    """A setting is out of its range, unknown, or contradicts another."""


class ConditionError(WaveNetError):
    """A label or another condition is unknown, missing or of the wrong kind."""


class CheckpointError(WaveNetError):
    """A checkpoint folder is missing, damaged or does not fit its own config."""


class EngineUnavailable(WaveNetError):
    """The engine asked for does not exist or cannot run this model here."""


class ModelUnsupported(EngineUnavailable):
    """An engine, a tab or a command does not support this architecture."""


class DataError(WaveNetError):
    """A training folder, its labels or a clip in it cannot be used."""


class DeviceError(WaveNetError):
    """A GPU was lost in the middle of the work."""


class OutOfMemory(DeviceError):
    """A device has too little memory for what it was asked to do."""


class FolderError(WaveNetError):
    """A folder to write into cannot be made or used."""


class FolderInUse(FolderError):
    """Another process is writing into a folder."""


class HubError(WaveNetError):
    """The Hugging Face Hub cannot be reached, or refuses."""


class TrainingError(WaveNetError):
    """Training had to stop before its end."""
