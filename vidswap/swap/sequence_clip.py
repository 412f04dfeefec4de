"""An output of numbered frames, made so that a run that was broken off goes on.

Frames are made in the work folder and get their names when a segment is whole. Of each the work
keeps its SHA-256, so that frames that were changed or removed since are not taken for finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self, cast

import av
from av.packet import Packet
from av.video.stream import VideoStream

from vidswap.digest import file_sha256
from vidswap.errors import OutputExistsError
from vidswap.media.decoder import VideoReader
from vidswap.media.frame import Frame
from vidswap.media.output import writing_errors
from vidswap.media.packet_file import PacketWriter, read_packets
from vidswap.media.segments import SegmentFolder, remove_work, work_folders
from vidswap.media.sequence import SequenceName
from vidswap.media.sequence_picture import ClipPicture, encoded_as, lost_as
from vidswap.media.sequence_reader import SequenceReader
from vidswap.media.still import StillFrame
from vidswap.swap.faces import SwappedFrame
from vidswap.swap.options import SwapCounts
from vidswap.swap.resume import frames_from, kept_work
from vidswap.swap.state import SwapState

FIRST_OF_CLIP = 1  # number of a clip's first frame, where none is asked for


class SequenceClip:
    """In place of `SegmentedClip` for an output that is an image sequence.

    marks: go into every frame that a swap has changed; the others are the target's own files where
    the format is the same, byte for byte. first: number of the range's first frame, None for that
    of a sequence's own or FIRST_OF_CLIP. `dropped` says what the frames cannot hold.

    Raises OutputExistsError for frames that are there and not of this work, unless `overwrite`;
    OutputNotWritableError as `SegmentFolder`.
    """

    def __init__(
        self,
        name: SequenceName,
        reader: VideoReader | SequenceReader,
        marks: Mapping[str, str],
        facts: Mapping[str, str],
        *,
        first: int | None = None,
        fresh: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.name, self._reader, self._marks = name, reader, dict(marks)
        self.output = name.folder / name.pattern
        self._suffix = name.suffix.lower()
        self._numbers = Numbers(reader, first)
        self.dropped: list[str] | None = None
        self._packets: PacketWriter | None = None
        self._waiting: list[int] = []
        self._is_new_folder = not name.folder.exists()
        with writing_errors(name.folder):
            name.folder.mkdir(exist_ok=True)
        self._folder = SegmentFolder(self.output, facts, fresh=fresh)
        self.warnings = kept_work(self._folder)
        try:
            recorded = self._recorded()
            check_frames(name, self._numbers, overwrite, known=recorded)
            self.begin, frames = self._place_to_go_on(recorded)
            self.frames: Iterable[Frame] = frames
            if isinstance(reader, VideoReader):
                self.frames = as_stills(frames, deep=self._suffix in (".exr", ".dpx"))
        except BaseException:
            self._folder.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._packets is not None:
            self._packets.abort()
        for number in self._waiting:
            self._staged(number).unlink(missing_ok=True)
        self._folder.close()
        if self._is_new_folder:
            with suppress(OSError):  # unless something is in it
                self.name.folder.rmdir()

    @property
    def frames_kept(self) -> int:
        """Frames in whole segments."""
        return sum(file.packets for file in self._folder.packet_files)

    def write(self, item: SwappedFrame) -> None:
        """Make the next frame; where a segment ends with it, give its frames their names."""
        frame = item.frame
        assert isinstance(frame, StillFrame)
        number = self._numbers.of(frame, self.frames_kept + len(self._waiting))
        content = self._content(frame)
        with writing_errors(self.output):
            self._staged(number).write_bytes(content)
        if self._packets is None:
            self._packets = self._folder.begin_segment()
        self._packets.write(_record(number, hashlib.sha256(content).digest()))
        self._waiting.append(number)
        if item.state is not None:
            self._end_segment(item.state)

    def finish(self, counts: SwapCounts) -> None:
        """End the last segment, and remove the work, of which nothing is wanted any more."""
        if self._waiting:
            self._end_segment(SwapState.at_the_end(counts, self._reader.truncated))
        self._folder.mark_complete()
        self._folder.close()
        remove_work(self.output)

    def _content(self, frame: StillFrame) -> bytes:
        if self.dropped is None:
            self.dropped = lost_as(frame.picture, self._suffix)
        changed = frame.is_changed
        if not changed and isinstance(self._reader, SequenceReader):
            own = self._reader.name.path(frame.number)
            if own.suffix.lower() == self._suffix:
                return own.read_bytes()
        return encoded_as(frame.picture, self._suffix, frame.rgb, self._marks if changed else {})

    def _staged(self, number: int) -> Path:
        return self._folder.path / f"frame-{number}"

    def _end_segment(self, state: SwapState) -> None:
        assert self._packets is not None
        self._folder.add(self._packets.close(None), state.to_bytes())
        self._name_frames(self._waiting)
        self._packets, self._waiting = None, []

    def _name_frames(self, numbers: Iterable[int]) -> None:
        with writing_errors(self.output):
            for number in numbers:
                self._staged(number).replace(self.name.path(number))

    def _recorded(self) -> dict[int, str]:
        """SHA-256 of the frames in whole segments, by number."""
        return {
            packet.pts: bytes(packet).hex()
            for file in self._folder.packet_files
            for packet in read_packets(self._folder.path / file.name, self._reader.time_base)
            if packet.pts is not None
        }

    def _place_to_go_on(
        self, recorded: Mapping[int, str]
    ) -> tuple[SwapState | None, Iterable[Frame]]:
        content = self._folder.state()
        if content is None:
            return None, self._reader
        state = SwapState.from_bytes(content) if self._all_there(recorded) else None
        if state is not None and state.counts.frames != self.frames_kept:
            state = None
        if state is not None and (frames := frames_from(self._reader, state)) is not None:
            return state, frames
        self.warnings.append("the work of an earlier run cannot be resumed; starting over")
        self._folder.drop_all()
        self._reader.go_to(None)
        return None, self._reader

    def _all_there(self, recorded: Mapping[int, str]) -> bool:
        """Whether all recorded frames are whole; those that still wait for their names get them."""
        for number, digest in recorded.items():
            staged, named = self._staged(number), self.name.path(number)
            if staged.is_file() and not staged.is_symlink() and file_sha256(staged) == digest:
                self._name_frames([number])
            elif not named.is_file() or file_sha256(named) != digest:
                return False
        return True


class Numbers:
    """Frame numbers of an output: those of a sequence, moved to begin at `first`, or counted."""

    def __init__(self, reader: VideoReader | SequenceReader, first: int | None) -> None:
        self._of_sequence = reader.numbers if isinstance(reader, SequenceReader) else None
        if self._of_sequence is not None:
            self._added = 0 if first is None else first - self._of_sequence[0]
        self._first = FIRST_OF_CLIP if first is None else first

    def of(self, frame: Frame, index: int) -> int:
        """That of a frame, the `index`-th of the range from 0."""
        if self._of_sequence is not None and isinstance(frame, StillFrame):
            return frame.number + self._added
        return self._first + index

    def shifted(self, number: int) -> int:
        """That of a sequence's own number, or of a clip's frame counted from 0."""
        return number + (self._first if self._of_sequence is None else self._added)

    def written(self, there: Iterable[int]) -> list[int]:
        """Those of the numbers that a frame of the output may get."""
        if self._of_sequence is None:
            return [number for number in there if number >= self._first]
        own = {number + self._added for number in self._of_sequence}
        return [number for number in there if number in own]


def check_frames(
    name: SequenceName, numbers: Numbers, overwrite: bool, known: Iterable[int] = ()
) -> None:
    """Raise OutputExistsError for frames that would be replaced and are not `known`."""
    there = set(numbers.written(name.numbers())) - set(known)
    if there and not overwrite:
        first = name.path(min(there))
        more = f" and {len(there) - 1} more frames" if len(there) > 1 else ""
        raise OutputExistsError(f"{first}{more} exist; give --overwrite or name other frames")


def has_work(name: SequenceName) -> bool:
    """Whether there is unfinished work on an output."""
    return bool(work_folders(name.folder / name.pattern))


def as_stills(frames: Iterable[Frame], *, deep: bool) -> Iterator[StillFrame]:
    """Frames of a clip as those of a sequence."""
    for frame in frames:
        yield StillFrame.of_clip(frame, ClipPicture.of(frame, deep=deep or _bits(frame) > 8))


def _bits(frame: Frame) -> int:
    return int(frame.coded().format.components[0].bits)


def _record(number: int, digest: bytes) -> Packet[VideoStream]:
    packet = cast("Packet[VideoStream]", av.Packet(digest))
    packet.pts = packet.dts = number
    packet.is_keyframe = True
    return packet
