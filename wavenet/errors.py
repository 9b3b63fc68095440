"""Errors that a user can cause; each message says what was expected, what was found, what to do.

WaveNetError
├── ConfigError          a setting or option is out of range, unknown, or contradicts another
├── ConditionError       an input (condition value, name, file) is unknown, missing or invalid
├── CheckpointError      a checkpoint folder is missing, damaged or does not match its own config
│   └── PredictionsNotFinite  the weights are so large that predictions overflow
├── EngineUnavailable    the requested engine is unknown or cannot run this model here
│   └── ModelUnsupported an engine, a tab or a command does not support this architecture
├── DataError            a folder of audio, a corpus, a table or a manifest cannot be used
│   └── PatternMismatch  no file name fits a pattern
├── DeviceError          a GPU was lost during the work
│   └── OutOfMemory      a device has too little memory
├── FolderError          an output folder cannot be created or used
│   └── FolderInUse      another process is writing into it
├── CompressedFileError  a compressed file is damaged, unknown, or cannot be read or written
│   └── CompressorMissingError  the compressor that wrote it is not installed
├── EffectFileError      a file of an effect cannot be used
├── HubError             the Hugging Face Hub cannot be reached, or rejects a request
└── TrainingError        a training cannot start, resume or continue

`audio_utils.errors.AudioError` is separate. The command line and the studio print all of these as
one sentence; any other exception is a bug and has a traceback.
"""


class WaveNetError(Exception):
    """Base class of all errors of this package."""


class ConfigError(WaveNetError):
    """A setting or option is out of range, unknown, or contradicts another."""


class ConditionError(WaveNetError):
    """An input is unknown, missing or invalid.

    Inputs are condition values, names, ids, paths of files to read or to write, URLs, and values on
    the command line that are not settings of a config.
    """


class CheckpointError(WaveNetError):
    """A checkpoint folder is missing, damaged or does not match its own config."""


class PredictionsNotFinite(CheckpointError):
    """The weights of a checkpoint are finite, but so large that its predictions are not.

    Args:
        name: of the checkpoint, or of its folder.
    """

    def __init__(self, name: object):
        super().__init__(
            f"{name} predicts values that are not finite; its weights are damaged or far too "
            "large; use another checkpoint"
        )


class EngineUnavailable(WaveNetError):
    """The requested engine is unknown or cannot run this model here."""


class ModelUnsupported(EngineUnavailable):
    """An engine, a tab or a command does not support this architecture."""


class DataError(WaveNetError):
    """A folder of audio, a prepared corpus, a metadata table or a manifest cannot be used.

    Also raised if the content does not suffice: no clips, no field of that name, no such path on a
    machine of a cluster.
    """


class PatternMismatch(DataError):
    """No file name fits a pattern.

    Attributes:
        suggested_pattern: one that fits the names, or None.
    """

    suggested_pattern: str | None = None


class DeviceError(WaveNetError):
    """A GPU was lost during the work."""


class OutOfMemory(DeviceError):
    """A device has too little memory."""


class FolderError(WaveNetError):
    """An output folder cannot be created or used."""


class FolderInUse(FolderError):
    """Another process is writing into a folder."""


class CompressedFileError(WaveNetError):
    """A compressed recording (.wnc) is damaged, unknown, or cannot be read or written."""


class CompressorMissingError(CompressedFileError):
    """The compressor that wrote a compressed recording is not installed."""


class EffectFileError(WaveNetError):
    """A file of an amplifier or effect is damaged, unknown, or cannot be read or written."""


class HubError(WaveNetError):
    """The Hugging Face Hub cannot be reached, or rejects a request."""


class TrainingError(WaveNetError):
    """A training cannot start, resume or continue.

    Examples: a loss that is not finite, no snapshot to resume from, a run that exists or is running
    already, a run folder that cannot be written, another process that ended.
    """
