"""Names a user gives codecs and containers, and what they mean to the encoders."""

from dataclasses import dataclass
from pathlib import Path

import av

from vidswap.errors import BadOptionError, CodecError
from vidswap.media.planes import chroma_span


@dataclass(frozen=True)
class Container:
    """An output format, chosen by the file name's suffix."""

    muxer: str
    default_codec: str
    codecs: tuple[str, ...]


@dataclass(frozen=True)
class VideoCodec:
    """An encoder and the way it takes quality and speed."""

    encoder: str
    crf_limit: int | None  # greatest value, None: no quality setting
    default_preset: str | None
    preset_option: str | None = None
    options: tuple[tuple[str, str], ...] = ()


# Presets: the fastest that costs little quality at the default crf.
CODECS = {
    "h264": VideoCodec("libx264", 51, "veryfast", "preset"),
    "hevc": VideoCodec("libx265", 51, "fast", "preset", (("x265-params", "log-level=none"),)),
    "av1": VideoCodec("libsvtav1", 63, "8", "preset"),
    "vp9": VideoCodec("libvpx-vp9", 63, "4", "cpu-used", (("deadline", "good"), ("row-mt", "1"))),
    "prores": VideoCodec("prores_ks", None, None),
    "ffv1": VideoCodec("ffv1", None, None, None, (("level", "3"),)),
}

# Only containers that keep frame times and display rotation: AVI keeps neither.
CONTAINERS = {
    ".mp4": Container("mp4", "h264", ("h264", "hevc", "av1", "vp9")),
    ".m4v": Container("mp4", "h264", ("h264", "hevc", "av1", "vp9")),
    ".mov": Container("mov", "h264", ("h264", "hevc", "prores")),
    ".mkv": Container("matroska", "h264", tuple(CODECS)),
    ".webm": Container("webm", "vp9", ("vp9", "av1")),
}


def container_for(path: Path) -> Container:
    """The container of an output name. Raises CodecError for a suffix that has none."""
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise CodecError(
            f"no container is known for {path.name!r}; end it in one of {', '.join(CONTAINERS)}"
        )
    return container


def codec_for(path: Path, name: str | None) -> VideoCodec:
    """The codec of that name, or the container's usual one. Raises CodecError."""
    container = container_for(path)
    name = name or container.default_codec
    if name not in CODECS:
        raise CodecError(f"unknown codec {name!r}; use one of {', '.join(CODECS)}")
    if name not in container.codecs:
        raise CodecError(
            f"{path.suffix} files cannot hold {name}; "
            f"use one of {', '.join(container.codecs)} or another container"
        )
    return CODECS[name]


def encoder_options(codec: VideoCodec, crf: int, preset: str | None) -> dict[str, str]:
    """Options for the encoder. Raises BadOptionError for a crf outside the codec's range."""
    options = dict(codec.options)
    preset = preset or codec.default_preset
    if codec.preset_option and preset:
        options[codec.preset_option] = preset
    if codec.crf_limit is not None:
        if not 0 <= crf <= codec.crf_limit:
            raise BadOptionError(
                f"crf {crf} is outside 0 to {codec.crf_limit} of {codec.encoder}; 18 is the default"
            )
        options["crf"] = str(crf)
    return options


def encoder_format(codec: VideoCodec, pixel_format: str, width: int, height: int) -> str:
    """Pixel format to encode with: the clip's own, else the nearest that the encoder takes.

    "Nearest" loses neither chroma resolution nor bits where any format avoids it, and then adds
    the least. 4:2:0 in h264 and hevc needs an even size (ITU-T H.264 table 6-1: a cropping unit
    is two rows or columns), so odd sizes go to a format with finer chroma there.
    """
    offered = [f.name for f in av.codec.Codec(codec.encoder, "w").video_formats or ()]
    usable = [name for name in offered if _fits(codec, name, width, height)]
    plain = pixel_format.replace("yuvj", "yuv")
    for name in (pixel_format, plain):
        if name in usable:
            return name
    wanted = _traits(plain)
    ranked = sorted(usable, key=lambda name: (_shortfall(wanted, _traits(name)), name))
    if not ranked:
        raise CodecError(f"{codec.encoder} takes no frames of {width}x{height}; use ffv1 in .mkv")
    return ranked[0]


def _fits(codec: VideoCodec, pixel_format: str, width: int, height: int) -> bool:
    if codec.encoder not in ("libx264", "libx265"):
        return True
    across, down = chroma_span(pixel_format)
    return width % across == 0 and height % down == 0


def _traits(pixel_format: str) -> tuple[int, int, bool, bool]:
    """Bits a component, pixels a chroma sample covers, has chroma, is Y'CbCr or grey."""
    fmt = av.VideoFormat(pixel_format)
    across, down = chroma_span(pixel_format)
    return fmt.components[0].bits, across * down, len(fmt.components) > 2, not fmt.is_rgb


def _shortfall(
    wanted: tuple[int, int, bool, bool], got: tuple[int, int, bool, bool]
) -> tuple[int, ...]:
    """Sort key: colour lost, colour model changed, chroma lost, bits lost, then what is added."""
    bits, span, colour, luma_chroma = wanted
    return (
        int(colour and not got[2]),
        int(luma_chroma != got[3]),
        max(0, got[1] - span),
        max(0, bits - got[0]),
        max(0, span - got[1]) + int(got[2] and not colour),
        max(0, got[0] - bits),
    )
