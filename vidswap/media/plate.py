"""What is said of a clip that is made beside another: its size and times, with transparency."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from vidswap.media.colour import ColourTags
from vidswap.media.decoder import VideoReader
from vidswap.media.mastering import HdrMetadata
from vidswap.media.orientation import Orientation
from vidswap.media.sequence_reader import SequenceReader


@dataclass
class Plate:
    """A template for `VideoWriter` of upright R'G'B' frames with opacity, and no other stream."""

    path: Path
    width: int
    height: int
    is_deep: bool
    colour: ColourTags
    time_base: Fraction
    average_rate: Fraction
    beginning: Fraction | None
    stop: Fraction | None
    first_pts: int
    sample_aspect_ratio: Fraction | None = None
    hdr: HdrMetadata = field(default_factory=HdrMetadata)
    orientation: Orientation = field(default_factory=Orientation)
    chroma_location: str | None = None
    interlaced: bool = False
    field_order: int = 1

    @classmethod
    def of(cls, reader: VideoReader | SequenceReader) -> Plate:
        """That of the frames of a reader; of 16 bits where they have more than 8."""
        deep = av.VideoFormat(reader.pixel_format).components[0].bits > 8
        tags = reader.colour
        colour = ColourTags(0, tags.primaries, tags.transfer)
        shape = reader.sample_aspect_ratio
        if shape and reader.orientation.transpose:
            shape = 1 / shape
        return cls(
            reader.path, reader.width, reader.height, deep, colour, reader.time_base,
            Fraction(reader.average_rate), reader.beginning, reader.stop, reader.first_pts, shape,
        )  # fmt: skip

    @property
    def pixel_format(self) -> str:
        return "gbrap16le" if self.is_deep else "gbrap"

    @property
    def coded_width(self) -> int:
        return self.width

    @property
    def coded_height(self) -> int:
        return self.height
