"""What a swap remembers from frame to frame, kept so that another run can go on from there."""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vidswap.blending.reference import ReferenceMoment
from vidswap.blending.reshaping import ShapeMoment
from vidswap.blending.temporal_smoothing import SmoothedMoment
from vidswap.media.frame import Frame
from vidswap.swap.options import SwapCounts
from vidswap.swap.state_check import is_sound

_LARGEST = 2**30  # bytes, unpacked
# All that a state is made of. Pickle would otherwise run whatever a file beside the output says.
_ALLOWED = {
    ("vidswap.swap.state", "SwapState"),
    ("vidswap.swap.options", "SwapCounts"),
    ("vidswap.faces.track", "Track"),
    ("vidswap.faces.track", "Observation"),
    ("vidswap.faces.track", "IdentityMemory"),
    ("vidswap.faces.track", "IdentitySample"),
    ("vidswap.faces.detection", "Face"),
    ("vidswap.faces.cuts", "_Glance"),
    ("vidswap.blending.temporal_smoothing", "SmoothedMoment"),
    ("vidswap.blending.reference", "ReferenceMoment"),
    ("vidswap.blending.reshaping", "ShapeMoment"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
}


@dataclass(frozen=True, eq=False)
class SwapState:
    """A swap between two frames of its output.

    next_index: of the first frame that the tracker has not seen. held: time (pts) and CRC-32 of
    the frames it has seen and not given back, which have to be decoded again. following, chosen:
    the tracker's and the chooser's own states. smoothing, shapes, references: by track. counts: so
    far. damage: what is known of the clip's.
    """

    next_index: int
    held: tuple[tuple[int, int], ...]
    following: Mapping[str, Any]
    chosen: Any
    smoothing: Mapping[int, SmoothedMoment] = field(default_factory=dict)
    shapes: Mapping[int, ShapeMoment] = field(default_factory=dict)
    references: Mapping[int, ReferenceMoment] = field(default_factory=dict)
    counts: SwapCounts = field(default_factory=SwapCounts)
    damage: str | None = None

    @classmethod
    def at_the_end(cls, counts: SwapCounts, damage: str | None) -> SwapState:
        """That of a swap whose last frame is done."""
        return cls(counts.frames, (), {}, None, counts=counts.copy(), damage=damage)

    @property
    def is_at_the_end(self) -> bool:
        """A swap that goes on holds a frame at least: the last that its tracker has seen."""
        return not self.held

    def to_bytes(self) -> bytes:
        return zlib.compress(pickle.dumps(self, protocol=4), 1)

    @classmethod
    def from_bytes(cls, content: bytes) -> SwapState | None:
        """The state that was kept; None where this is none, or another version's."""
        unpacker = zlib.decompressobj()
        try:
            pickled = unpacker.decompress(content, _LARGEST)
            if unpacker.unconsumed_tail or not unpacker.eof:
                return None
            state = _StateUnpickler(io.BytesIO(pickled)).load()
        except Exception:  # what pickle raises for damaged content is of any kind
            return None
        return state if isinstance(state, cls) and is_sound(state) else None


def fingerprint(frame: Frame) -> int:
    """CRC-32 of a frame's pixels."""
    return zlib.crc32(frame.rgb.data)


class _StateUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a state")
        return super().find_class(module, name)
