"""Compiles numba kernels, keeping the machine code where a folder takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """A kernel on one core, compiled on first use; other threads run meanwhile."""
    kernel: Any
    try:
        kernel = numba.njit(cache=True, nogil=True, fastmath={"contract", "nnan"})(function)
    except (RuntimeError, OSError):  # numba finds no folder that it may write to
        kernel = numba.njit(nogil=True, fastmath={"contract", "nnan"})(function)
    return cast("F", kernel)
