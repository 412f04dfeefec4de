"""Anything that pickles, with its tensors and large arrays apart in one block of shared memory.

Processes pass a `Packed` on for the price of a small message. Arrays that are mapped from a file
stay there: whoever unpacks maps them again.
"""

from __future__ import annotations

import io
import mmap
import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGE = 2**20  # bytes from which an array is shared; smaller ones travel with the message
_ALIGNMENT = 64  # bytes


@dataclass(frozen=True, eq=False)
class Packed:
    """What `pack` has made: the pickled rest, and the block (n,) uint8."""

    rest: bytes
    block: Tensor

    def pin_memory(self) -> Packed:
        """With the block where a GPU reads it by itself."""
        return replace(self, block=self.block.pin_memory())

    def unpack(self) -> Any:
        """The object; its tensors and large arrays lie in the block."""
        return _Unpickler(self.rest, self.block).load()


def pack(thing: Any) -> Packed:
    """Raises RuntimeError, as torch does, where shared memory has no room."""
    rest = io.BytesIO()
    pickler = _Pickler(rest)
    pickler.dump(thing)
    block = torch.empty(0, dtype=torch.uint8)
    if pickler.apart:
        storage = torch.UntypedStorage._new_shared(pickler.size)
        block = torch.empty(0, dtype=torch.uint8).set_(storage)
    for (offset, *_, layout), tensor in pickler.apart:
        _placed(block, offset, tensor.dtype, tensor.shape, layout).copy_(tensor)
    return Packed(rest.getvalue(), block)


def packed_size(thing: Any) -> int:
    """Bytes of the block that `pack` would make."""
    pickler = _Pickler(io.BytesIO())
    pickler.dump(thing)
    return pickler.size


def _layout(tensor: Tensor) -> tuple[int, ...]:
    """The strides of a copy, which are the tensor's own where it has no gaps."""
    return torch.empty_like(tensor, device="meta").stride()


def _placed(
    block: Tensor, offset: int, dtype: torch.dtype, shape: Any, layout: tuple[int, ...]
) -> Tensor:
    """The tensor of a block that begins at a byte."""
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    part = block[offset : offset + n_bytes].view(dtype)
    return part.as_strided(tuple(shape), layout, part.storage_offset())


class _Pickler(pickle.Pickler):
    """Notes what lies in the block, and where, in place of the values themselves."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.apart: list[tuple[tuple[Any, ...], Tensor]] = []
        self.size = 0
        # With the things themselves, or another one could get the number of one that is gone.
        self._known: dict[int, tuple[Any, tuple[Any, ...]]] = {}

    def persistent_id(self, thing: Any) -> tuple[Any, ...] | None:
        if isinstance(thing, np.memmap) and isinstance(thing.base, mmap.mmap):
            order = "C" if thing.flags.c_contiguous else "F"
            return ("file", str(thing.filename), thing.dtype, thing.offset, thing.shape, order)
        if isinstance(thing, Tensor):
            return ("tensor", *self._put(thing, thing))
        if type(thing) is np.ndarray and thing.nbytes >= LARGE and thing.dtype.kind in "biuf":
            return (
                "array",
                *self._put(thing, torch.from_numpy(np.require(thing, None, ("C", "W")))),
            )
        return None

    def _put(self, thing: Any, tensor: Tensor) -> tuple[Any, ...]:
        if id(thing) not in self._known:
            place = (self.size, tensor.dtype, tuple(tensor.shape), _layout(tensor))
            self.apart.append((place, tensor.detach()))
            self.size += -(-tensor.numel() * tensor.itemsize // _ALIGNMENT) * _ALIGNMENT
            self._known[id(thing)] = thing, place
        return self._known[id(thing)][1]


class _Unpickler(pickle.Unpickler):
    def __init__(self, rest: bytes, block: Tensor) -> None:
        super().__init__(io.BytesIO(rest))
        self.block = block

    def persistent_load(self, place: tuple[Any, ...]) -> Any:
        kind, *rest = place
        if kind == "file":
            path, dtype, offset, shape, order = rest
            return np.memmap(path, dtype, "r", offset, shape, order)
        tensor = _placed(self.block, *rest)
        return tensor.numpy() if kind == "array" else tensor
