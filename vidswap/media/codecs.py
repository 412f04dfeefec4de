"""Names a user gives codecs and containers, and what they mean to the encoders."""

from collections.abc import Mapping
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

# Encoders that want whole chroma samples: h264 and hevc crop by whole ones (ITU-T H.264 7.4.2.1.1),
# prores_ks leaves the half covered last column unwritten.
_WHOLE_CHROMA = ("libx264", "libx265", "prores_ks")

# Encoders that keep the two fields of interlaced pictures apart, and say which comes first.
KEEPS_FIELDS = ("libx264", "prores_ks", "ffv1")

# Encoders that write the shape of a pixel into their stream. Matroska can state it for the others,
# but its muxer takes it from a place that PyAV does not reach.
STATES_PIXEL_SHAPE = ("libx264", "libx265")

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
        # In 10 bits the best crf of x264 is not lossless yet; qp 0 is at every depth.
        lossless = crf == 0 and codec.encoder == "libx264"
        options["qp" if lossless else "crf"] = str(crf)
    return options


def joined_options(options: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """`options` with others added; lists of parameters (`x265-params`) are joined."""
    joined = dict(options)
    for key, value in added.items():
        joined[key] = f"{joined[key]}:{value}" if key in joined else value
    return joined


def encoder_format(codec: VideoCodec, pixel_format: str, width: int, height: int) -> str:
    """Pixel format to encode with: the clip's own, else the nearest that the encoder takes.

    "Nearest" loses neither chroma resolution nor bits where any format avoids it, and then adds
    the least. Odd sizes go to a format with finer chroma where the encoder needs that.
    """
    offered = [f.name for f in av.codec.Codec(codec.encoder, "w").video_formats or ()]
    usable = [name for name in offered if _fits(codec, name, width, height)]
    plain = pixel_format.replace("yuvj", "yuv")
    for name in (pixel_format, plain):
        if name in usable:
            return name
    wanted = _traits(plain)
    candidates = [name for name in usable if not name.startswith("yuvj")]
    if not candidates:
        raise CodecError(f"{codec.encoder} takes no frames of {width}x{height}; use ffv1 in .mkv")
    return min(candidates, key=lambda name: _cost(wanted, _traits(name)))


def lost_by_format(pixel_format: str, encoded_format: str) -> list[str]:
    """What is lost where a clip of one pixel format is encoded in another, a line each."""
    if pixel_format == encoded_format:
        return []
    had, has = _traits(pixel_format.replace("yuvj", "yuv")), _traits(encoded_format)
    lost = []
    if has.bits < had.bits:
        lost.append(f"{had.bits} bits a sample (the encoder takes {has.bits})")
    if has.coloured and (has.across > had.across or has.down > had.down):
        lost.append(f"chroma resolution ({pixel_format} became {encoded_format})")
    if had.has_alpha and not has.has_alpha:
        lost.append("transparency")
    return lost


def _fits(codec: VideoCodec, pixel_format: str, width: int, height: int) -> bool:
    if codec.encoder not in _WHOLE_CHROMA:
        return True
    across, down = chroma_span(pixel_format)
    return width % across == 0 and height % down == 0


@dataclass(frozen=True)
class _Traits:
    bits: int
    across: int  # pixels a chroma sample covers
    down: int
    coloured: bool
    is_rgb: bool
    has_alpha: bool


def _traits(pixel_format: str) -> _Traits:
    known = av.VideoFormat(pixel_format)
    count = len(known.components)
    return _Traits(
        bits=known.components[0].bits,
        across=chroma_span(pixel_format)[0],
        down=chroma_span(pixel_format)[1],
        coloured=count > 2,
        is_rgb=known.is_rgb,
        has_alpha=count in (2, 4),
    )


def _cost(wanted: _Traits, got: _Traits) -> tuple[int, ...]:
    """Sort key: colour lost, colour model changed, chroma lost, bits lost, then what is added."""
    return (
        int(wanted.coloured and not got.coloured),
        int(wanted.is_rgb != got.is_rgb),
        max(0, got.across - wanted.across) + max(0, got.down - wanted.down),
        max(0, wanted.bits - got.bits),
        int(got.has_alpha and not wanted.has_alpha) + int(got.coloured and not wanted.coloured),
        max(0, wanted.across - got.across) + max(0, wanted.down - got.down),
        max(0, got.bits - wanted.bits),
    )
