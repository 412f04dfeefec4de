"""The new face alone as a clip with transparency: ProRes 4444, FFV1 or VP9."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np

from vidswap.choices import MaskName
from vidswap.errors import BadOptionError
from vidswap.media.decoder import VideoReader
from vidswap.media.encoder import VideoWriter
from vidswap.media.frame import Frame
from vidswap.media.orientation import Orientation
from vidswap.media.packet_file import PacketWriter
from vidswap.media.picture_encoder import PictureEncoder, Quality
from vidswap.media.planes import rows_of
from vidswap.media.plate import Plate
from vidswap.media.segments import SegmentFolder, remove_work
from vidswap.media.sequence_reader import SequenceReader
from vidswap.swap.faces import SwappedFrame
from vidswap.swap.layers import layers_of, straight_face

CODECS = {".mov": "prores", ".mkv": "ffv1", ".webm": "vp9"}


class FaceClip:
    """Encodes the faces of a run's frames, segment by segment as the run's own output.

    Colours are not multiplied by the opacity. Leaving the `with` block keeps whole segments. Raises
    as `VideoWriter` and `SegmentFolder`.
    """

    def __init__(
        self,
        path: Path,
        reader: VideoReader | SequenceReader,
        marks: Mapping[str, str],
        facts: Mapping[str, str],
        mask: MaskName,
        *,
        fresh: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.path, self._mask, self._overwrite = path, mask, overwrite
        self._plate, self._marks = Plate.of(reader), dict(marks)
        self._quality = Quality(face_codec(path))
        self._straight: VideoWriter | None = self._writer()  # refuses now what would fail
        self._folder: SegmentFolder | None = None
        self._encoder: PictureEncoder | None = None
        self._packets: PacketWriter | None = None
        if self._straight.joinable:
            self._straight.abort()
            self._straight = None
            self._folder = SegmentFolder(path, facts, fresh=fresh)

    def __enter__(self) -> FaceClip:
        return self

    def __exit__(self, *_: object) -> None:
        self._abandon()
        if self._folder is not None:
            self._folder.close()
        if self._straight is not None:
            self._straight.abort()

    def begins_at(self, kept: int) -> bool:
        """Go on after so many frames of an earlier run; False where their faces are not there."""
        if self._folder is None:
            return kept == 0
        count, whole = 0, 0
        for file in self._folder.packet_files:
            if count + file.packets > kept:
                break
            count, whole = count + file.packets, whole + 1
        self._folder.segments = self._folder.segments[:whole] if count == kept else []
        return count == kept

    def write(self, item: SwappedFrame) -> None:
        """Encode the face of the next frame; a segment ends where that of the run does."""
        frame = self._face(item)
        if self._straight is not None:
            self._straight.write(frame)
            return
        assert self._folder is not None
        if self._encoder is None or self._packets is None:
            self._encoder = PictureEncoder(self.path, self._plate, self._quality)
            self._packets = self._folder.begin_segment()
        for packet in self._encoder.encode(frame):
            self._packets.write(packet)
        if item.state is not None:
            self._end_segment()

    def complete(self) -> None:
        """Give the file its name, and remove the work."""
        writer = self._straight
        if writer is None and self._folder is not None:
            self._end_segment()
            writer = self._writer()
            writer.join(self._folder.path, self._folder.packet_files)
            self._folder.mark_complete()
        assert writer is not None
        writer.close()
        self._straight = None
        if self._folder is not None:
            self._folder.close()
            remove_work(self.path)

    def _writer(self) -> VideoWriter:
        return VideoWriter(
            self.path, self._plate, codec=self._quality.codec, metadata=self._marks,
            overwrite=self._overwrite,
        )  # fmt: skip

    def _end_segment(self) -> None:
        if self._encoder is None or self._packets is None or self._folder is None:
            return
        for packet in self._encoder.flush():
            self._packets.write(packet)
        file = self._packets.close(self._encoder.stream.codec_context.extradata)
        self._encoder.close()
        self._folder.add(file, b"face")
        self._encoder = self._packets = None

    def _abandon(self) -> None:
        if self._packets is not None:
            self._packets.abort()
        if self._encoder is not None:
            self._encoder.close()

    def _face(self, item: SwappedFrame) -> Frame:
        layers = layers_of(item, self._mask)
        coded = av.VideoFrame(self._plate.width, self._plate.height, self._plate.pixel_format)
        bits = 16 if self._plate.is_deep else 8
        kind, most = ("<u2", 65535.0) if bits == 16 else ("u1", 255.0)
        planes = [rows_of(coded, index).view(kind) for index in range(4)]
        for plane in planes:
            plane[:] = 0
        if layers.faces is not None:
            left, top, right, bottom = layers.faces.box
            straight = np.rint(np.clip(straight_face(layers), 0.0, 1.0) * most)
            for plane, channel in zip(planes, (1, 2, 0, 3), strict=True):
                plane[top:bottom, left:right] = straight[..., channel].astype(plane.dtype)
        self._plate.colour.tag(coded)
        frame = item.frame
        return Frame(
            frame.rgb, frame.pts, frame.time_base, frame.duration, self._plate.colour, coded,
            Orientation(),
        )  # fmt: skip


def face_codec(path: Path) -> str:
    """The codec of a face clip by its suffix. Raises BadOptionError."""
    codec = CODECS.get(path.suffix.lower())
    if codec is None:
        raise BadOptionError(
            f"--face-clip {path.name}; end it in .mov (ProRes 4444), .mkv (FFV1) or .webm (VP9), "
            "which hold transparency"
        )
    return codec
