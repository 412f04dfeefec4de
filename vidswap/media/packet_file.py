"""Coded packets in a file, exactly as an encoder gave them: times, durations, bytes."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Self, cast

import av
from av.packet import Packet
from av.video.stream import VideoStream

from vidswap.digest import file_sha256
from vidswap.media.output import writing_errors
from vidswap.runtime.private import open_private

_MAGIC = b"vidswap packets 1\n"
_LATEST = 2**62  # ticks
_HEAD = struct.Struct("<qqqBI")  # pts, dts, duration in ticks; 1 for a key frame; bytes that follow


@dataclass(frozen=True)
class PacketFile:
    """A complete file of packets: `sha256` and `size` in bytes are those of the whole file.

    `reordering` is by how many places a frame is coded after its turn to be shown, at most;
    `setup` is the SHA-256 of the encoder's global headers, alike in files that can be joined.
    """

    name: str
    packets: int
    reordering: int
    setup: str
    size: int
    sha256: str


class PacketWriter:
    """Writes packets to `path`, under another name until `close` has made them safe on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_suffix(".part")
        self._hash = hashlib.sha256()
        self._times: list[int] = []
        with writing_errors(path):
            self._file = open_private(self._part)
        self._put(_MAGIC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def write(self, packet: Packet[VideoStream]) -> None:
        """Add a packet; its times must be known. Raises DiskFullError and the like.

        What an encoder gives beside the packet is not kept: of what matters, VP9's transparency.
        """
        assert packet.pts is not None
        assert not packet.has_sidedata("matroska_block_additional"), "transparency would be lost"
        dts = packet.pts if packet.dts is None else packet.dts
        content = bytes(packet)
        head = _HEAD.pack(
            packet.pts, dts, packet.duration or 0, int(packet.is_keyframe), len(content)
        )
        self._put(head)
        self._put(content)
        self._times.append(packet.pts)

    def close(self, headers: bytes | None) -> PacketFile:
        """Complete the file, wait until the disk has it, and give it its name.

        `headers` are the global ones (extradata) of the encoder that gave the packets.
        """
        with writing_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            size = self._file.tell()
            self._file.close()
            self._part.replace(self.path)
        return PacketFile(
            name=self.path.name,
            packets=len(self._times),
            reordering=reordering(self._times),
            setup=setup_of(headers),
            size=size,
            sha256=self._hash.hexdigest(),
        )

    def abort(self) -> None:
        """Remove what was written; does nothing after `close`."""
        if not self._file.closed:
            with suppress(OSError):  # what is still to be written need not be
                self._file.close()
            self._part.unlink(missing_ok=True)

    def _put(self, content: bytes) -> None:
        with writing_errors(self.path):
            self._file.write(content)
        self._hash.update(content)


def setup_of(headers: bytes | None) -> str:
    """What tells the global headers of one encoder from another's: their SHA-256."""
    return hashlib.sha256(headers or b"").hexdigest()


def reordering(times: list[int]) -> int:
    """By how many places the frame coded last comes after its turn, of times (pts) as coded."""
    turn = {time: place for place, time in enumerate(sorted(times))}
    return max((place - turn[time] for place, time in enumerate(times)), default=0)


def shown_times(path: Path) -> list[int]:
    """The times of a file's packets in the order in which they are shown."""
    times = []
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
        while head := file.read(_HEAD.size):
            pts, _, _, _, size = _HEAD.unpack(head)
            times.append(pts)
            file.seek(size, os.SEEK_CUR)
    return sorted(times)


def read_packets(path: Path, time_base: Fraction) -> Iterator[Packet[VideoStream]]:
    """The packets of a complete file, one at a time, with times in units of `time_base`."""
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
        while head := file.read(_HEAD.size):
            pts, dts, duration, is_key_frame, size = _HEAD.unpack(head)
            packet = cast("Packet[VideoStream]", av.Packet(file.read(size)))
            packet.pts, packet.dts, packet.duration = pts, dts, duration
            packet.time_base = time_base
            packet.is_keyframe = bool(is_key_frame)
            yield packet


def whole_packet_times(folder: Path, file: PacketFile) -> list[int] | None:
    """The times of a file's packets as they are shown; None unless it is what it was closed as.

    Checked are size and bytes, and that it holds packets that can be joined: as many as stated,
    reordered as stated, a key frame first, no time twice, coded times that rise.
    """
    path = folder / file.name
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size:
        return None
    if file_sha256(path) != file.sha256 or (heads := _heads(path, file)) is None:
        return None
    times = [pts for pts, _, _, _, _ in heads]
    coded = [dts for _, dts, _, _, _ in heads]
    in_bounds = all(abs(t) < _LATEST for t in (*times, *coded)) and all(
        0 <= duration < _LATEST for _, _, duration, _, _ in heads
    )
    rising = all(one < other for one, other in pairwise(coded))
    is_sound = in_bounds and rising and heads[0][3] == 1 and len(set(times)) == len(times)
    return sorted(times) if is_sound and reordering(times) == file.reordering else None


def _heads(path: Path, file: PacketFile) -> list[tuple[int, int, int, int, int]] | None:
    """What stands before every packet; None where the file is no row of so many whole packets."""
    heads: list[tuple[int, int, int, int, int]] = []
    end = file.size
    with path.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            return None
        while (head := opened.read(_HEAD.size)) and len(heads) < file.packets:
            if len(head) < _HEAD.size:
                return None
            heads.append(_HEAD.unpack(head))
            if opened.seek(heads[-1][4], os.SEEK_CUR) > end:
                return None
        return heads if not head and len(heads) == file.packets else None
