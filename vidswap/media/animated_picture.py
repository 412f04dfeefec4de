"""Animated WebP and PNG: all frames with their times."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from vidswap.errors import CodecError, NotAVideoError
from vidswap.media.animated_writer import ANIMATED_SUFFIXES, AnimationWriter
from vidswap.media.codecs import CONTAINERS
from vidswap.media.frame import Frame
from vidswap.media.output import writing_errors
from vidswap.media.picture import Picture, is_picture
from vidswap.media.picture_colour import ColourProfile
from vidswap.media.picture_file import Extras
from vidswap.media.picture_open import UNREADABLE, check_size, opened

_TICK = Fraction(1, 1000)
_MOST_LOOPS = 65_535  # that WebP holds
_USUAL = 100  # milliseconds of a frame that states none


@dataclass
class Animation:
    """An animated picture. extras: of its first frame. loops: shown how often, 0 without end."""

    path: Path
    extras: Extras
    loops: int

    @classmethod
    def of(cls, path: Path) -> "Animation":
        """That of a file. Raises NotAVideoError."""
        check_size(path)
        with opened(path) as image:
            return cls(path, Extras.of(image), min(int(image.info.get("loop", 0)), _MOST_LOOPS))

    def pictures(self) -> Iterator[Picture]:
        """One picture a frame, with its time, one in memory at a time. Raises NotAVideoError."""
        profile = ColourProfile.of(self.extras.icc)
        with opened(self.path) as image:
            first = 1 if getattr(image, "default_image", False) else 0
            now = 0.0
            for number in range(first, frame_count(self.path)):
                try:
                    image.seek(number)
                    rgba = np.asarray(image.convert("RGBA"))
                except UNREADABLE as error:
                    raise NotAVideoError(
                        f"frame {number} of {self.path} cannot be read; it may be damaged"
                    ) from error
                lasts = float(image.info.get("duration") or _USUAL)
                own = np.ascontiguousarray(rgba[..., :3])
                seen = own if profile is None else profile.view(own)
                frame = Frame.from_rgb(
                    seen, pts=round(now), time_base=_TICK, duration=max(1, round(lasts))
                )
                alpha = rgba[..., 3] if image.has_transparency_data else None
                now += max(1.0, lasts)
                yield Picture(frame, own, alpha, self.extras)

    def writer(self, path: Path, metadata: dict[str, str], overwrite: bool) -> AnimationWriter:
        """What writes an animation like this one, lossless but for a GIF's colours."""
        extras = self.extras.fitting(path.suffix.lower())
        return AnimationWriter(
            path, loops=self.loops, extras=extras, metadata=metadata, overwrite=overwrite
        )


def write_as_clip(animation: Animation, path: Path) -> None:
    """Write an animation as a clip of exactly its pixels and times, FFV1 in mp4.

    Raises NotAVideoError, DiskFullError and the like.
    """
    with writing_errors(path), _clip_file(path) as container:
        stream: VideoStream | None = None
        for picture in animation.pictures():
            frame, kind = picture.frame, "bgr0" if picture.alpha is None else "bgra"
            if stream is None:
                stream = container.add_stream("ffv1", rate=25)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, kind
                stream.time_base = stream.codec_context.time_base = _TICK
            alpha = np.full(frame.rgb.shape[:2], 255, np.uint8)
            alpha = alpha if picture.alpha is None else picture.alpha
            pixels = np.ascontiguousarray(np.dstack([frame.rgb[..., ::-1], alpha]))
            coded = av.VideoFrame.from_ndarray(pixels, format="bgra").reformat(format=kind)
            coded.pts, coded.time_base, coded.duration = frame.pts, _TICK, frame.duration
            for packet in stream.encode(coded):
                packet.duration = frame.duration
                container.mux(packet)
        if stream is not None:
            container.mux(stream.encode(None))


def _clip_file(path: Path) -> av.container.OutputContainer:
    ticks = {"video_track_timescale": str(_TICK.denominator)}
    return av.open(f"file:{path}", "w", format="mp4", container_options=ticks)


def frame_count(path: Path) -> int:
    """How many frames a picture has."""
    with opened(path) as image:
        return int(getattr(image, "n_frames", 1))


def is_animated(path: Path) -> bool:
    """Whether a file is a picture of several frames that are shown one after the other."""
    if not is_picture(path):
        return False
    try:
        with opened(path) as image:
            return image.format in ("WEBP", "PNG") and bool(getattr(image, "is_animated", False))
    except NotAVideoError:
        return False


def check_animated_suffix(target: Path, output: Path) -> None:
    """Raise CodecError unless the output of an animated target can have all its frames."""
    takers = (*ANIMATED_SUFFIXES, *CONTAINERS)
    if output.suffix.lower() not in takers:
        raise CodecError(
            f"{target} is animated ({frame_count(target)} frames), and {output.name} would not be; "
            f"end it in one of {', '.join(takers)}"
        )
