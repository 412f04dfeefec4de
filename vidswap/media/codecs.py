"""Names a user gives codecs and containers, and what they mean to the encoders."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel

from vidswap.choices import DEFAULT_CRF as DEFAULT_CRF
from vidswap.errors import BadOptionError, CodecError
from vidswap.media.container import open_clip, own_words, said
from vidswap.media.planes import chroma_span
from vidswap.media.timeline import timeline_of
from vidswap.runtime.process import kept_scheduling

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Container:
    """An output format, chosen by the file name's suffix."""

    muxer: str
    default_codec: str
    codecs: tuple[str, ...]  # hardware encoders write the same ones


@dataclass(frozen=True)
class VideoCodec:
    """An encoder and the way it takes quality, bit rate and speed.

    crf_limit: greatest quality number, None where it takes none; the least is `crf_least`.
    quality, rate: options in which {crf}, {percent}, {rate} and {peak} are filled in; no `rate`:
    it takes no bit rate. rate_limit: most bits a second. formats: the pixel formats to use, empty
    for all that the encoder has. device: kind of device its frames must be sent to first.
    """

    encoder: str
    crf_limit: int | None
    default_preset: str | None
    preset_option: str | None = None
    options: Options = ()
    quality: Options = (("crf", "{crf}"),)
    rate: Options = ()
    crf_least: int = 0
    rate_limit: int | None = None
    formats: tuple[str, ...] = ()
    device: str | None = None


# Twice the mean for a second: room for scenes that need it, none for a file of another size.
_AVERAGE: Options = (("b", "{rate}"), ("maxrate", "{peak}"), ("bufsize", "{peak}"))
# libvpx's one-pass variable rate misses by 40 %; at a constant one it is much nearer.
_CONSTANT: Options = (
    ("b", "{rate}"), ("minrate", "{rate}"), ("maxrate", "{rate}"), ("bufsize", "{rate}"),
    ("undershoot-pct", "100"), ("overshoot-pct", "15"),
)  # fmt: skip
# SVT-AV1 takes no `maxrate` with a mean rate; by these it comes nearer to the mean.
_SVT_RATE: Options = (("b", "{rate}"), ("svtav1-params", "overshoot-pct=10:undershoot-pct=10"))
_SVT_LIMIT = 100_000_000
_MAX_RATE = 2**31 - 1  # of ffmpeg's options
_MIN_RATE = 10_000  # encoders count kilobits

# Presets: the fastest that costs little quality at the default crf.
CODECS = {
    "h264": VideoCodec("libx264", 51, "veryfast", "preset", rate=_AVERAGE),
    "hevc": VideoCodec(
        "libx265", 51, "fast", "preset", (("x265-params", "log-level=none"),), rate=_AVERAGE
    ),
    "av1": VideoCodec("libsvtav1", 63, "8", "preset", rate=_SVT_RATE, rate_limit=_SVT_LIMIT),
    "vp9": VideoCodec(
        "libvpx-vp9", 63, "4", "cpu-used", (("deadline", "good"), ("row-mt", "1")), rate=_CONSTANT
    ),
    "prores": VideoCodec("prores_ks", None, None),
    "ffv1": VideoCodec("ffv1", None, None, None, (("level", "3"),)),
}

_8_BIT = ("yuv420p", "nv12")
_10_BIT = (*_8_BIT, "p010le")


# By maker: the preset's option, quality, how to ask for a mean bit rate, the least quality number.
_MAKERS: dict[str, tuple[str | None, Options, Options, int]] = {
    "nvenc": ("preset", (("rc", "vbr"), ("cq", "{crf}")), (("rc", "vbr"),), 1),
    "qsv": ("preset", (("global_quality", "{crf}"),), (), 1),
    "vaapi": (None, (("rc_mode", "CQP"), ("qp", "{crf}")), (("rc_mode", "VBR"),), 1),
    "videotoolbox": (None, (("flags", "+qscale"), ("global_quality", "{percent}")), (), 0),
    "amf": ("quality", (("rc", "cqp"), ("qp_i", "{crf}"), ("qp_p", "{crf}")),
            (("rc", "vbr_peak"),), 0),
}  # fmt: skip
_HARDWARE_FORMATS = {
    "h264_nvenc": (*_8_BIT, "yuv444p"),
    "hevc_nvenc": (*_10_BIT, "yuv444p"),
    "av1_nvenc": _10_BIT,
    "h264_qsv": ("nv12",),
    "hevc_qsv": ("nv12", "p010le"),
    "h264_vaapi": ("nv12",),
    "hevc_vaapi": ("nv12", "p010le"),
    "h264_videotoolbox": _8_BIT,
    "hevc_videotoolbox": _10_BIT,
    "h264_amf": _8_BIT,
    "hevc_amf": _10_BIT,
}


def _hardware(name: str, formats: tuple[str, ...]) -> VideoCodec:
    kind, maker = name.split("_")
    preset_option, quality, rate, crf_least = _MAKERS[maker]
    if name == "h264_amf":  # the other has no such frames
        quality = (*quality, ("qp_b", "{crf}"))
    return VideoCodec(
        name, 63 if kind == "av1" else 51, None, preset_option, quality=quality,
        rate=(*rate, *_AVERAGE), crf_least=crf_least, formats=formats,
        device="vaapi" if maker == "vaapi" else None,
    )  # fmt: skip


# Taken only where they are named: they give a lower quality for the same size than the others.
HARDWARE_CODECS = {name: _hardware(name, formats) for name, formats in _HARDWARE_FORMATS.items()}

# Encoders that want whole chroma samples: h264 and hevc crop by whole ones (ITU-T H.264 7.4.2.1.1),
# prores_ks leaves the half covered last column unwritten.
_WHOLE_CHROMA = ("libx264", "libx265", "prores_ks", *HARDWARE_CODECS)

# Encoders that keep the two fields of interlaced pictures apart, and say which comes first.
KEEPS_FIELDS = ("libx264", "prores_ks", "ffv1")

# Encoders that write the shape of a pixel into their stream. Matroska can state it for the others,
# but its muxer takes it from a place that PyAV does not reach.
STATES_PIXEL_SHAPE = ("libx264", "libx265")

HEVC_ENCODERS = ("libx265", *(name for name in HARDWARE_CODECS if name.startswith("hevc_")))

# Only containers that keep frame times and display rotation: AVI keeps neither.
CONTAINERS = {
    ".mp4": Container("mp4", "h264", ("h264", "hevc", "av1", "vp9")),
    ".m4v": Container("mp4", "h264", ("h264", "hevc", "av1", "vp9")),
    ".mov": Container("mov", "h264", ("h264", "hevc", "prores")),
    ".mkv": Container("matroska", "h264", tuple(CODECS)),
    ".webm": Container("webm", "vp9", ("vp9", "av1")),
}

# Containers whose header has the size of every frame, so that its bit rate is the true one.
_COUNTED = ("mov,mp4,m4a,3gp,3g2,mj2",)
_TRIAL_SIZE = (640, 480)  # hardware encoders refuse small pictures
_QP_TO_LAMBDA = 118  # libavutil's factor from a quality number to `global_quality`


def container_for(path: Path) -> Container:
    """The container of an output name. Raises CodecError for a suffix that has none."""
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise CodecError(
            f"no container is known for {path.name!r}; end it in one of {', '.join(CONTAINERS)}"
        )
    return container


def codec_for(path: Path, name: str | None) -> VideoCodec:
    """The codec of that name, or the container's usual one.

    Raises CodecError for one that is unknown, that the container cannot hold, or whose device is
    not here.
    """
    container = container_for(path)
    name = name or container.default_codec
    codec = CODECS.get(name) or HARDWARE_CODECS.get(name)
    if codec is None:
        raise CodecError(
            f"unknown codec {name!r}; use one of {', '.join(CODECS)}, "
            f"or with such a device {', '.join(HARDWARE_CODECS)}"
        )
    if name.split("_")[0] not in container.codecs:
        raise CodecError(
            f"{path.suffix} files cannot hold {name}; "
            f"use one of {', '.join(container.codecs)} or another container"
        )
    if name in HARDWARE_CODECS and (complaint := hardware_complaint(name)):
        works = [*container.codecs, *working_hardware_codecs(container)]
        raise CodecError(f"{name} cannot be used here ({complaint}); use one of {', '.join(works)}")
    return codec


@cache  # opening one takes a part of a second, and cards allow only so many at a time
def hardware_complaint(name: str) -> str | None:
    """Why a hardware encoder cannot be used here, in its own words; None where it can."""
    codec = HARDWARE_CODECS[name]
    try:
        known = av.codec.Codec(codec.encoder, "w")
    except ValueError:  # UnknownCodecError is one
        return "the ffmpeg inside PyAV has no such encoder"
    words: list[str] = []
    try:
        with own_words() as words:
            _try_to_open(known, codec)
    except (av.FFmpegError, NotImplementedError, ValueError) as error:
        return said(words, error)
    return None


def working_hardware_codecs(container: Container | None = None) -> list[str]:
    """Names of the hardware encoders that can be used here, for a container or for any."""
    return [
        name
        for name in HARDWARE_CODECS
        if container is None or name.split("_")[0] in container.codecs
        if hardware_complaint(name) is None
    ]


def hardware_device(codec: VideoCodec) -> HWAccel | None:
    """The device that frames are sent to before this encoder takes them; None: it takes them."""
    return HWAccel(codec.device, allow_software_fallback=False) if codec.device else None


def encoder_options(
    codec: VideoCodec, crf: int | None, preset: str | None, bitrate: int | None = None
) -> dict[str, str]:
    """Options for the encoder: for quality `crf`, or for a mean of `bitrate` bits a second.

    Without both the quality is DEFAULT_CRF. Raises BadOptionError for both, for a crf outside
    the codec's range, and for a codec that takes no bit rate, or no preset.
    """
    options = dict(codec.options)
    if preset and not codec.preset_option:
        raise BadOptionError(f"--preset {preset}: {codec.encoder} has no presets; leave it out")
    preset = preset or codec.default_preset
    if codec.preset_option and preset:
        options[codec.preset_option] = preset
    if bitrate is not None:
        if crf is not None:
            raise BadOptionError("a quality (--crf) and a bit rate (--match-bitrate): give one")
        return joined_options(options, _rate_options(codec, bitrate))
    if codec.crf_limit is not None:
        options |= _quality_options(codec, DEFAULT_CRF if crf is None else crf)
    return options


def video_bit_rate(path: Path) -> int:
    """Mean bits a second of a clip's picture stream.

    By the header where that has every frame's size (mp4, mov), else by the packets, all of which
    are read. Raises InputNotFoundError, NotAVideoError.
    """
    container, stream = open_clip(path)
    with container:
        if container.format.name in _COUNTED and stream.bit_rate:
            return int(stream.bit_rate)
        size, times, retimer = 0, [], timeline_of(path).retimer()
        try:
            for packet in container.demux(stream):
                retimer.moved(packet)
                time = packet.pts if packet.pts is not None else packet.dts
                size += packet.size
                times += [] if time is None else [time]
        except av.FFmpegError:
            pass  # of a clip that breaks off the part that is there
        # From the first frame to the last is one frame less than the clip lasts.
        count = len(times)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        span = float((max(times) - min(times)) * (stream.time_base or 0)) if count > 1 else 0.0
        seconds = span * count / (count - 1) if span else max(1, count) / rate
        return round(8 * size / seconds)


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
    known = () if codec.formats else av.codec.Codec(codec.encoder, "w").video_formats or ()
    offered = [*codec.formats, *(f.name for f in known)]
    usable = [name for name in offered if _fits(codec, name, width, height)]
    if codec.encoder == "libvpx-vp9" and pixel_format.startswith("gbrap"):
        usable = ["yuva420p"]  # its one format with transparency
    plain = pixel_format.replace("yuvj", "yuv")
    for name in (pixel_format, plain):
        if name in usable:
            return name
    wanted = _traits(plain)
    candidates = [name for name in usable if not name.startswith("yuvj")]
    if not candidates:
        raise CodecError(f"{codec.encoder} takes no frames of {width}x{height}; use ffv1 in .mkv")
    return min(candidates, key=lambda name: _cost(wanted, _traits(name)))


def has_alpha(pixel_format: str) -> bool:
    """Whether a pixel format has transparency."""
    return _traits(pixel_format).has_alpha


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


def _quality_options(codec: VideoCodec, crf: int) -> dict[str, str]:
    limit = codec.crf_limit or 0
    if not codec.crf_least <= crf <= limit:
        raise BadOptionError(
            f"crf {crf} is outside {codec.crf_least} to {limit} of {codec.encoder}; "
            f"{DEFAULT_CRF} is the default"
        )
    # In 10 bits the best crf of x264 is not lossless yet; qp 0 is at every depth.
    if crf == 0 and codec.encoder == "libx264":
        return {"qp": "0"}
    percent = max(1, round(100 * (1 - crf / limit)))  # VideoToolbox counts up to the best
    values = {"crf": crf, "percent": percent * _QP_TO_LAMBDA}
    return {name: value.format(**values) for name, value in codec.quality}


def _rate_options(codec: VideoCodec, bitrate: int) -> dict[str, str]:
    takers = [name for name, known in CODECS.items() if known.rate]
    if not codec.rate:
        raise BadOptionError(
            f"{codec.encoder} takes no bit rate; leave --match-bitrate out, "
            f"or use one of {', '.join(takers)}"
        )
    if codec.rate_limit is not None and bitrate > codec.rate_limit:
        raise BadOptionError(
            f"{codec.encoder} takes at most {codec.rate_limit / 1e6:.0f} Mbit/s, "
            f"the target has {bitrate / 1e6:.0f}; use --crf, or another codec"
        )
    rate = min(max(bitrate, _MIN_RATE), _MAX_RATE)
    values = {"rate": rate, "peak": min(2 * rate, _MAX_RATE)}
    return {name: value.format(**values) for name, value in codec.rate}


def _try_to_open(known: av.codec.Codec, codec: VideoCodec) -> None:
    """Open the encoder for a picture of usual size. Raises what the library raises."""
    context: Any = av.CodecContext.create(known, "w", hardware_device(codec))
    context.width, context.height = _TRIAL_SIZE
    context.pix_fmt = codec.formats[0]
    context.framerate = 25
    context.options = encoder_options(codec, None, None)
    with kept_scheduling():
        context.open()


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
    """Sort key: colour lost, model changed, chroma, bits, alpha lost, then what is added."""
    return (
        int(wanted.coloured and not got.coloured),
        int(wanted.is_rgb != got.is_rgb),
        max(0, got.across - wanted.across) + max(0, got.down - wanted.down),
        max(0, wanted.bits - got.bits),
        int(wanted.has_alpha and not got.has_alpha),
        int(got.has_alpha and not wanted.has_alpha) + int(got.coloured and not wanted.coloured),
        max(0, wanted.across - got.across) + max(0, wanted.down - got.down),
        max(0, got.bits - wanted.bits),
    )
