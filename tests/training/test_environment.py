"""What is set before torch and numba are imported."""

from __future__ import annotations

import os

import pytest

from vidswap.training.environment import prepare_process


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ({"OMP_NUM_THREADS": "1"}, "1"),
        ({"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}, "2"),  # the user's own
        ({"OMP_NUM_THREADS": "2,1"}, None),  # OpenMP's list for nested regions; numba knows none
        ({}, None),
    ],
)
def test_numba_gets_as_many_threads_as_openmp(
    given: dict[str, str], threads: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that what the call sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # set: the process is not started again
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    prepare_process()
    assert os.environ.get("NUMBA_NUM_THREADS") == threads
