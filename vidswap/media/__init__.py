"""Clips and pictures: what they are, their frames, and writing them back."""

from vidswap.media.colour import ColourTags
from vidswap.media.decoder import VideoReader
from vidswap.media.encoder import VideoWriter
from vidswap.media.frame import Frame
from vidswap.media.marks import read_marks, synthetic_metadata
from vidswap.media.orientation import Box
from vidswap.media.output import check_output
from vidswap.media.picture import is_picture, read_picture, write_picture
from vidswap.media.probe import MediaInfo, StreamInfo, probe
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
