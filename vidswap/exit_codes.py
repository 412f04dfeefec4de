"""Every exit code, what it means, and whether the same command may succeed later."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from vidswap import errors
from vidswap.runtime.process import INTERRUPTED

Outcome = Literal["success", "retry", "final"]


@dataclass(frozen=True)
class ExitCode:
    """outcome: "retry": the same command, unchanged, may succeed later; "final": it will not.

    error: the exception's class, empty where there is none.
    """

    code: int
    meaning: str
    outcome: Outcome
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_MEANINGS = {
    1: "a check failed (report --fail-on, evaluate --against, doctor), or a fault of vidswap's own",
    2: "an option or value is not allowed",
    3: "an input does not exist",
    4: "an input is not a video or picture",
    5: "no face in the source",
    6: "several faces in the source",
    7: "the output exists",
    8: "the output folder cannot be written",
    9: "the disk is full",
    10: "the codec or decoder is unknown, missing, or does not fit",
    11: "the checkpoint is missing, damaged, or holds another network",
    12: "a system library or Python package is missing",
    13: "third-party weights are missing",
    14: "a face dataset is damaged",
    15: "no face in the target to tune for",
    16: "a training configuration is not allowed",
    17: "training diverged repeatedly",
    18: "a signing key or certificate is missing or damaged",
    19: "not enough memory",
    20: "a process forked after a swap cannot swap",
    40: "a manifest of jobs cannot be read, or has rows that cannot be done",
    41: "some jobs of a batch failed or were cancelled; the others are done",
    42: "a worker process was killed, of a job or of training",
    43: "a job took longer than --timeout-per-job",
    44: "a job was cancelled",
    45: "another run is at work on the output",
}
_OF_VERIFY = {
    30: "verify: the file was changed after signing",
    31: "verify: the file makes no claim",
    32: "verify: the signer is unknown",
}


def exit_codes() -> list[ExitCode]:
    """All exit codes, in order."""
    found = [ExitCode(0, "success", "success")]
    for error in errors_by_code():
        outcome: Outcome = "retry" if error.worth_a_retry else "final"
        meaning = _MEANINGS.get(error.exit_code) or (error.__doc__ or "").strip().split("\n")[0]
        name = "" if error is errors.VidswapError else error.__name__
        found.append(ExitCode(error.exit_code, meaning, outcome, name))
    found += [ExitCode(code, meaning, "final") for code, meaning in _OF_VERIFY.items()]
    found.append(ExitCode(INTERRUPTED, "interrupted; the same command resumes", "retry"))
    return sorted(found, key=lambda each: each.code)


def errors_by_code() -> list[type[errors.VidswapError]]:
    """Every class of error that has a code of its own."""
    family = [
        each for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.VidswapError)
    ]  # fmt: skip
    return sorted(family, key=lambda each: each.exit_code)
