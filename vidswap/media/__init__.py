"""Clips and pictures: what they are, their frames, and writing them back.

Their modules are imported on first use: nets read files of weights without a codec.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidswap.media.colour import ColourTags
    from vidswap.media.decoder import VideoReader
    from vidswap.media.encoder import VideoWriter
    from vidswap.media.frame import Frame
    from vidswap.media.marks import read_marks, synthetic_metadata
    from vidswap.media.orientation import Box
    from vidswap.media.output import check_output
    from vidswap.media.picture import is_picture, read_picture, write_picture
    from vidswap.media.probing import MediaInfo, StreamInfo, probe
    from vidswap.media.sampling import sample_frames

__all__ = [
    "Box",
    "ColourTags",
    "Frame",
    "MediaInfo",
    "StreamInfo",
    "VideoReader",
    "VideoWriter",
    "check_output",
    "is_picture",
    "probe",
    "read_marks",
    "read_picture",
    "sample_frames",
    "synthetic_metadata",
    "write_picture",
]

_MODULES = {
    "Box": "orientation", "ColourTags": "colour", "Frame": "frame", "MediaInfo": "probing",
    "StreamInfo": "probing", "VideoReader": "decoder", "VideoWriter": "encoder",
    "check_output": "output", "is_picture": "picture", "probe": "probing", "read_marks": "marks",
    "read_picture": "picture", "sample_frames": "sampling", "synthetic_metadata": "marks",
    "write_picture": "picture",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"vidswap.media.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'vidswap.media' has no attribute {name!r}")
