"""The one exception family: every error says what was got, what is allowed and what to do.

The command line prints the message as a single line and leaves with `exit_code`.
"""


class VidswapError(Exception):
    """Base of all errors a user can cause or mend.

    worth_a_retry: the same command may succeed later, with nothing of it changed.
    """

    exit_code = 1
    worth_a_retry = False


class BadOptionError(VidswapError):
    """An option's value, or a combination of options, is not allowed."""

    exit_code = 2


class InputNotFoundError(VidswapError):
    """A named input file or folder does not exist."""

    exit_code = 3


class NotAVideoError(VidswapError):
    """A file is neither a video nor a picture that can be decoded."""

    exit_code = 4


class NoFaceInSourceError(VidswapError):
    """No usable face in any of the sources."""

    exit_code = 5


class SeveralFacesError(VidswapError):
    """The source shows several people and none was chosen."""

    exit_code = 6


class OutputExistsError(VidswapError):
    """The output exists and overwriting was not asked for."""

    exit_code = 7


class OutputNotWritableError(VidswapError):
    """The output's folder is missing or cannot be written."""

    exit_code = 8


class DiskFullError(VidswapError):
    """The disk filled up while the output was written."""

    exit_code = 9
    worth_a_retry = True


class CodecError(VidswapError):
    """An unknown codec or decoder, or one that the container or this computer cannot take."""

    exit_code = 10


class CheckpointError(VidswapError):
    """A checkpoint is missing, damaged or of another architecture."""

    exit_code = 11


class MissingLibraryError(VidswapError):
    """A system library or Python package is absent."""

    exit_code = 12


class MissingWeightsError(VidswapError):
    """Weights of a third-party net are absent and cannot be downloaded."""

    exit_code = 13
    worth_a_retry = True


class DatasetError(VidswapError):
    """A face dataset is damaged, its parts do not fit together, or no face came into it."""

    exit_code = 14


class NoFaceInTargetError(VidswapError):
    """No usable face in the target, where one is needed."""

    exit_code = 15


class TrainingConfigError(VidswapError):
    """A training configuration that names no known setting, or a value that is not allowed."""

    exit_code = 16


class TrainingDivergedError(VidswapError):
    """Training gave values that are not finite, again and again, from its last good state."""

    exit_code = 17


class SigningKeyError(VidswapError):
    """A signing key or certificate is missing, damaged, or not one that C2PA signs with."""

    exit_code = 18


class OutOfMemoryError(VidswapError):
    """Even the smallest piece of work does not fit into the memory."""

    exit_code = 19
    worth_a_retry = True


class ForkedProcessError(VidswapError):
    """A swap in a child forked from a process that has swapped already."""

    exit_code = 20


class IdentityFileError(VidswapError):
    """An identity file is damaged, of another version, or not one at all."""

    exit_code = 21


class CastError(VidswapError):
    """A cast folder is damaged, of another clip, or names what is not there."""

    exit_code = 22


class ManifestError(VidswapError):
    """A manifest of jobs that cannot be read, or with rows that cannot be done."""

    exit_code = 40


class JobsFailedError(VidswapError):
    """Some jobs of a batch failed or were cancelled; the others are done."""

    exit_code = 41


class WorkerKilledError(VidswapError):
    """A process that did a job, or drew batches, ended by itself, as when the system kills it."""

    exit_code = 42
    worth_a_retry = True


class JobTimeoutError(VidswapError):
    """A job took longer than it was given."""

    exit_code = 43
    worth_a_retry = True


class JobCancelledError(VidswapError):
    """A job was cancelled."""

    exit_code = 44


class OutputInUseError(OutputNotWritableError):
    """Another run is at work on the output."""

    exit_code = 45
    worth_a_retry = True
