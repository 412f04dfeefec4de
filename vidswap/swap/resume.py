"""A clip made in segments, so that a run that was broken off goes on after the last whole one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, Self

import av
import cv2
import torch

from vidswap.digest import file_sha256
from vidswap.errors import DiskFullError
from vidswap.media.animated_writer import AnimatedClip
from vidswap.media.decoder import VideoReader
from vidswap.media.encoder import VideoWriter
from vidswap.media.frame import Frame
from vidswap.media.packet_file import PacketFile, PacketWriter, setup_of
from vidswap.media.picture_encoder import PictureEncoder, Quality
from vidswap.media.segments import SegmentFolder, remove_work
from vidswap.media.sequence_reader import SequenceReader
from vidswap.nets import Nets
from vidswap.options import names_where
from vidswap.swap.faces import SwappedFrame
from vidswap.swap.options import SwapCounts, SwapOptions
from vidswap.swap.state import SwapState, fingerprint
from vidswap.version import __version__

ClipWriter = VideoWriter | AnimatedClip

# Options whose fact is what was made of them, as of "auto" or of a path.
_TOLD_BY_NETS = frozenset({"checkpoint", "device", "precision"})


@dataclass(frozen=True)
class Work:
    """Finished segments: their packets, in order, in a folder."""

    folder: Path
    files: tuple[PacketFile, ...]


class SegmentedClip:
    """Encodes finished frames segment by segment, each safe on the disk once it is whole.

    `begin` is the state that the work of an earlier run ends with, None where there is none of the
    same `facts`; `frames` are those that are still to be swapped, and `warnings` say what was
    found. Leaving the `with` block keeps whole segments; `discard` removes them. `part` is as of
    `SegmentFolder`.

    Raises OutputInUseError where another run is at work on the output.
    """

    def __init__(
        self,
        output: Path,
        reader: VideoReader | SequenceReader,
        quality: Quality,
        facts: Mapping[str, str],
        *,
        fresh: bool = False,
        part: int | None = None,
    ) -> None:
        self.output, self._reader, self._quality = output, reader, quality
        self._encoder: PictureEncoder | None = None
        self._packets: PacketWriter | None = None
        self._folder = SegmentFolder(output, facts, fresh=fresh, part=part)
        self.warnings = kept_work(self._folder)
        try:
            self.begin, self.frames = self._place_to_go_on()
        except BaseException:
            self._folder.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._packets is not None:
            self._packets.abort()
        if self._encoder is not None:
            self._encoder.close()
        self._folder.close()

    @property
    def frames_kept(self) -> int:
        """Frames in whole segments."""
        return sum(file.packets for file in self._folder.packet_files)

    def write(self, item: SwappedFrame) -> None:
        """Encode the next frame; where a segment ends with it, put the segment in safety."""
        if self._encoder is None or self._packets is None:
            self._encoder = PictureEncoder(self.output, self._reader, self._quality)
            self._packets = self._folder.begin_segment()
        for packet in self._encoder.encode(item.frame):
            self._packets.write(packet)
        if item.state is not None:
            self._end_segment(item.state)

    def complete(self, new_writer: Callable[[], ClipWriter], counts: SwapCounts) -> ClipWriter:
        """A writer of the output with all segments in it, to be closed; none is coded again."""
        self.finish(counts)
        writer = new_writer()
        assert isinstance(writer, VideoWriter), "only its files are made of segments"
        try:
            writer.join(self._folder.path, self._folder.packet_files)
            self._folder.mark_complete()
        except BaseException:
            writer.abort()
            raise
        return writer

    def finish(self, counts: SwapCounts) -> Work:
        """Put the last segment in safety; what there is then."""
        if self._encoder is not None:
            self._end_segment(SwapState.at_the_end(counts, self._reader.truncated))
        return Work(self._folder.path, tuple(self._folder.packet_files))

    def leave_output(self) -> None:
        """The output's file is not touched before `complete`."""

    def discard(self) -> None:
        """Remove all work on the output, once it is complete."""
        self._folder.close()
        remove_work(self.output)

    def _end_segment(self, state: SwapState) -> None:
        assert self._encoder is not None and self._packets is not None
        for packet in self._encoder.flush():
            self._packets.write(packet)
        file = self._packets.close(self._encoder.stream.codec_context.extradata)
        self._encoder.close()
        self._folder.add(file, state.to_bytes())
        self._encoder = self._packets = None

    def _place_to_go_on(self) -> tuple[SwapState | None, Iterable[Frame]]:
        content = self._folder.state()
        if content is None:
            return None, self._reader
        state = SwapState.from_bytes(content) if self._joinable() else None
        if state is not None and state.counts.frames != self.frames_kept:
            state = None  # not the one that these packets end with
        if state is not None and (frames := frames_from(self._reader, state)) is not None:
            return state, frames
        self.warnings.append("the work of an earlier run cannot be resumed; starting over")
        self._folder.drop_all()
        self._reader.go_to(None)
        return None, self._reader

    def _joinable(self) -> bool:
        """Whether an encoder of this run gives packets that the earlier ones can be joined with."""
        encoder = PictureEncoder(self.output, self._reader, self._quality)
        setup = setup_of(encoder.stream.codec_context.extradata)
        encoder.close()
        return all(file.setup == setup for file in self._folder.packet_files)


class StraightClip:
    """In place of `SegmentedClip` where packets cannot be kept: writes straight to the output."""

    begin: SwapState | None = None
    frames_kept: int = 0

    def __init__(self, reader: VideoReader | SequenceReader, writer: ClipWriter) -> None:
        self.output, self._writer = writer.path, writer
        self.frames: Iterable[Frame] = reader
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.abort()

    def write(self, item: SwappedFrame) -> None:
        """Encode the next frame."""
        self._writer.write(item.frame)

    def complete(self, new_writer: Callable[[], ClipWriter], counts: SwapCounts) -> ClipWriter:
        """The writer, to be closed."""
        return self._writer

    def leave_output(self) -> None:
        """Let go of the output's file, which is made otherwise."""
        self._writer.abort()

    def discard(self) -> None:
        """There is no work to remove."""


class KeepsWork(Protocol):
    """What is told of an output when its run ends early."""

    output: Path

    @property
    def frames_kept(self) -> int:
        """Frames that are finished and safe."""


class ClipInTheMaking(KeepsWork, Protocol):
    """What `SegmentedClip` and those in its place have in common."""

    warnings: list[str]

    def complete(self, new_writer: Callable[[], ClipWriter], counts: SwapCounts) -> ClipWriter:
        """A writer of the output with all frames in it, to be closed."""

    def leave_output(self) -> None:
        """Let go of the output's file, which is made otherwise."""

    def discard(self) -> None:
        """Remove all work on the output, once it is complete."""

    def __exit__(self, *_: object) -> None: ...


@contextmanager
def telling_what_is_kept(clip: KeepsWork) -> Iterator[None]:
    """Add to the error that ends a run early that a rerun resumes, where work is kept."""
    try:
        yield
    except KeyboardInterrupt as error:
        if clip.frames_kept:
            raise KeyboardInterrupt(_kept(clip)) from error
        raise
    except DiskFullError as error:
        if clip.frames_kept:
            raise DiskFullError(f"no space left beside {clip.output}; {_kept(clip)}") from error
        raise


def _kept(clip: KeepsWork) -> str:
    return f"{clip.frames_kept} frames are finished and kept; rerun the same command to resume"


def frames_from(reader: VideoReader | SequenceReader, state: SwapState) -> Iterator[Frame] | None:
    """The frames from the first that a state holds on; None where the clip gives others now.

    A seek that lands elsewhere than it did from the clip's beginning is found by the pixels.
    """
    if state.is_at_the_end:
        reader.truncated = state.damage
        return iter(())
    for seek in (True, False):
        reader.go_to(state.held[0][0], seek=seek)
        frames = iter(reader)
        held = list(islice(frames, len(state.held)))
        if tuple((frame.pts, fingerprint(frame)) for frame in held) == state.held:
            reader.truncated = reader.truncated or state.damage
            return chain(held, frames)
    return None


def facts_of(
    target: Path,
    sha256: Mapping[Path, str],
    used: Sequence[str],
    options: Mapping[str, Any],
    nets: Nets,
    owner: type[SwapOptions] = SwapOptions,
) -> dict[str, str]:
    """All that decides over the frames of a swap: inputs by their hashes, settings, versions.

    `sha256` are those of the target and of the source's files, `used` the names of its frames,
    `owner` the class that they are the options of.
    """
    facts = {"target": sha256[target], "frames of the source": ", ".join(used)}
    facts |= {f"source {path.name}": digest for path, digest in sha256.items() if path != target}
    deciding = names_where(owner, "pixels") - _TOLD_BY_NETS
    for name, value in options.items():
        if name in deciding:
            facts[name] = file_sha256(value) if _is_file(value) else str(value)
    return facts | {
        "checkpoint": nets.generator.sha256,
        "device": str(nets.device),
        "precision": str(nets.dtype),
        "threads": str(torch.get_num_threads()),
        "vidswap": __version__,
        "torch": torch.__version__,
        "PyAV": av.__version__,
        "OpenCV": cv2.__version__,
    }


def _is_file(value: Any) -> bool:
    return isinstance(value, Path) and value.is_file()


def kept_work(folder: SegmentFolder) -> list[str]:
    """What there is to say of the work that was found, a line each."""
    lines = [
        f"unfinished work with other settings ({differences}) is kept in {path}; remove "
        "it with --no-resume"
        for path, differences in folder.others()
    ]
    if folder.damaged:
        lines.append("the work of an earlier run is damaged or another version's; starting over")
    if folder.lost:
        lines.append(f"{folder.lost} segment(s) of an earlier run are damaged; swapping them again")
    return lines
