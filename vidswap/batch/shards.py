"""Which part of a manifest is this process's: said by --shard, by Slurm or by Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vidswap.errors import BadOptionError
from vidswap.runtime.text import shown

Shard = tuple[int, int]
WHOLE: Shard = (0, 1)

_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})")


def parse_shard(text: str) -> Shard:
    """`I/N` as two numbers, I from 0 to below N. Raises BadOptionError."""
    match = _SHARD.fullmatch(text.strip())
    if match is None or not int(match[1]) < int(match[2]):
        raise BadOptionError(
            f"--shard {shown(text)}; give I/N: 0/N is the first of N parts, and (N-1)/N the last"
        )
    return int(match[1]), int(match[2])


def shard_of(environment: Mapping[str, str]) -> Shard:
    """The part that the environment of a job array names.

    Slurm says all that is needed for an array that is a full row of numbers. Kubernetes gives an
    Indexed Job's JOB_COMPLETION_INDEX alone; the job's file must set JOB_COMPLETIONS beside it.
    With less than that there are no parts: the processes share the manifest through its state
    folder.
    """
    slurm = _numbers(
        environment,
        "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_COUNT",
    )  # fmt: skip
    if slurm is not None:
        number, first, last, count = slurm
        step = (_numbers(environment, "SLURM_ARRAY_TASK_STEP") or [1])[0] or 1
        is_row = count > 0 and first + step * (count - 1) == last
        if is_row and first <= number <= last and (number - first) % step == 0:
            return (number - first) // step, count
        return WHOLE
    kubernetes = _numbers(environment, "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS")
    if kubernetes is not None and kubernetes[0] < kubernetes[1]:
        return kubernetes[0], kubernetes[1]
    return WHOLE


def _numbers(environment: Mapping[str, str], *names: str) -> list[int] | None:
    """The variables as numbers; None unless all of them are."""
    values = [environment.get(name, "") for name in names]
    if not all(value.isascii() and value.isdecimal() and len(value) < 10 for value in values):
        return None
    return [int(value) for value in values]
