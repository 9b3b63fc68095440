"""Errors that a user can cause; each message says what was expected, what was found, what to do.

WaveNetError
├── ConfigError          a setting or option is out of range, unknown, or contradicts another
├── ConditionError       a condition value or another input is unknown, missing or invalid
├── CheckpointError      a checkpoint folder is missing, damaged or does not match its own config
├── EngineUnavailable    the requested engine is unknown or cannot run this model here
│   └── ModelUnsupported an engine, a tab or a command does not support this architecture
├── DataError            a training folder, its labels or a clip in it cannot be used
├── DeviceError          a GPU was lost during the work
│   └── OutOfMemory      a device has too little memory
├── FolderError          an output folder cannot be created or used
│   └── FolderInUse      another process is writing into it
├── HubError             the Hugging Face Hub cannot be reached, or rejects a request
└── TrainingError        training had to stop: a loss that is not finite, nothing to resume

`audio_utils.errors.AudioError` is separate. The command line and the studio print all of these as
one sentence; any other exception is a bug and has a traceback.
"""


class WaveNetError(Exception):
    """Base class of all errors of this package."""


class ConfigError(WaveNetError):
    """A setting or option is out of range, unknown, or contradicts another."""


class ConditionError(WaveNetError):
    """A condition value or another input is unknown, missing or invalid."""


class CheckpointError(WaveNetError):
    """A checkpoint folder is missing, damaged or does not match its own config."""


class EngineUnavailable(WaveNetError):
    """The requested engine is unknown or cannot run this model here."""


class ModelUnsupported(EngineUnavailable):
    """An engine, a tab or a command does not support this architecture."""


class DataError(WaveNetError):
    """A training folder, its labels or a clip in it cannot be used."""


class DeviceError(WaveNetError):
    """A GPU was lost during the work."""


class OutOfMemory(DeviceError):
    """A device has too little memory."""


class FolderError(WaveNetError):
    """An output folder cannot be created or used."""


class FolderInUse(FolderError):
    """Another process is writing into a folder."""


class HubError(WaveNetError):
    """The Hugging Face Hub cannot be reached, or rejects a request."""


class TrainingError(WaveNetError):
    """Training had to stop before its end."""
