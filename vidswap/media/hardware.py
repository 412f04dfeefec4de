"""Hardware decoders: used where one is named, and then nothing else takes their place.

What they decode arrives in main memory with the layout, samples and tags that the software decoder
gives; whatever they do not decode is refused with ffmpeg's words.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import av
from av.codec.hwaccel import HWAccel, HWDeviceType, hwdevices_available
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

from vidswap.errors import CodecError
from vidswap.media.container import open_clip, open_container, own_words, said
from vidswap.media.surfaces import laid_out_as

# Their standards prescribe every decoded sample. Those of MPEG-1, -2 and -4, JPEG and ProRes leave
# the rounding of the transform to the decoder.
EXACT_CODECS = ("h264", "hevc", "vp8", "vp9", "av1")

_NOT_TAKEN = "the decoder of this codec takes no such device"
_INSTEAD = "leave --hwaccel out to decode on the processor"


@dataclass(frozen=True)
class Device:
    """A device by its kind, as ffmpeg calls it, and which of several; None for the usual one."""

    kind: str
    which: str | None = None

    @classmethod
    def named(cls, name: str) -> "Device":
        """The device of a name like "cuda", "cuda:1" or "vaapi:/dev/dri/renderD128".

        Raises CodecError for a kind that decodes nothing here, and a number that is none.
        """
        kind, _, which = name.partition(":")
        kinds = decoding_kinds()
        if kind not in kinds:
            known = kind in HWDeviceType.__members__ and kind != "none"
            what = f"{kind} decodes nothing here" if known else f"unknown hardware decoder {name!r}"
            raise CodecError(
                f"{what}; the ffmpeg inside PyAV decodes on {', '.join(kinds) or 'no device'}; "
                f"{_INSTEAD}"
            )
        if kind == "cuda" and which and not (which.isascii() and which.isdigit()):
            raise CodecError(f"{name}: the GPU is given by its number, as in cuda:0; {_INSTEAD}")
        return cls(kind, which or None)

    def accelerator(self) -> HWAccel:
        """What PyAV opens a decoder with, without its own leave to decode in software instead."""
        return HWAccel(self.kind, self.which, allow_software_fallback=False)


class HardwareDecoder:
    """A clip that a device decodes: the open file, its picture stream, and `decode`.

    Raises CodecError where the device is not here or does not decode this stream exactly, the
    errors of `open_clip` where the file is no clip. Who opens it closes `container`.
    """

    def __init__(self, path: Path, name: str) -> None:
        device = Device.named(name)
        self._path, self._name, self._proven = path, name, False
        software, stream = open_clip(path)
        with software:
            codec, index = stream.codec_context.codec.canonical_name, stream.index
            self._pixel_format = stream.codec_context.pix_fmt
            profile = stream.codec_context.profile
        self._described = " ".join(filter(None, [codec, profile, self._pixel_format]))
        if codec not in EXACT_CODECS:
            raise self._refusal(
                f"decoders differ in the samples of {codec}; those of {', '.join(EXACT_CODECS)} "
                "are prescribed"
            )
        if complaint := device_complaint(name):
            working = ", ".join(working_devices()) or "none"
            raise CodecError(
                f"{name} cannot be used here ({complaint}); devices that can: {working}; {_INSTEAD}"
            )
        self.container, self.stream = self._open(device, index)
        try:
            self._surface = self._surface_format(device)
            self.stream.codec_context.thread_count = 1  # the device has its own
        except BaseException:
            self.container.close()
            raise

    def decode(self, packet: "Packet[VideoStream] | None") -> list[av.VideoFrame]:
        """Frames as the software decoder gives them; None for the packet fetches the last ones.

        Raises CodecError for what the device does not decode: damage too, which it and the
        software decoder would conceal in different ways.
        """
        if packet is not None and packet.is_corrupt:
            raise self._refusal("the file is damaged", packet)
        words: list[str] = []
        try:
            # What ffmpeg logs is about this stream only while a device takes it or does not.
            with nullcontext(words) if self._proven else own_words() as words:
                coded = self.stream.decode(packet)
        except av.FFmpegError as error:
            raise self._refusal(said(words, error), packet) from error
        frames = [self._planar(frame, packet) for frame in coded]
        self._proven = self._proven or bool(frames)
        return frames

    def _open(self, device: Device, index: int) -> tuple[InputContainer, VideoStream]:
        words: list[str] = []
        try:
            with own_words() as words:
                container = open_container(self._path, device.accelerator())
        except av.FFmpegError as error:
            raise self._refusal(said(words, error)) from error
        except RuntimeError as error:  # of PyAV, where the decoder of no stream takes the device
            raise self._refusal(_NOT_TAKEN) from error
        stream = container.streams[index]
        assert isinstance(stream, VideoStream)
        if not stream.codec_context.is_hwaccel:  # another stream of the file was taken
            container.close()
            raise self._refusal(_NOT_TAKEN)
        return container, stream

    def _surface_format(self, device: Device) -> str:
        """The pixel format that the decoder states while it decodes on the device."""
        for config in self.stream.codec_context.codec.hardware_configs:
            if config.is_supported and config.device_type.name == device.kind and config.format:
                return config.format.name
        raise self._refusal(_NOT_TAKEN)

    def _planar(self, coded: av.VideoFrame, packet: "Packet[VideoStream] | None") -> av.VideoFrame:
        context = self.stream.codec_context
        # PyAV opens a decoder "on" a device before anything is known of the stream. What shows
        # that the device decodes is the format which the decoder chose for its frames.
        if context.pix_fmt != self._surface:
            raise self._refusal(f"the decoder went over to {context.pix_fmt}", packet)
        if cast(Mapping[Type, object], coded.side_data).get(Type.FILM_GRAIN_PARAMS):
            raise self._refusal("its film grain is added by the software decoder alone", packet)
        if (coded.width, coded.height) != (context.width, context.height):
            # Of a surface ffmpeg crops the right and the bottom, not the left and the top.
            raise self._refusal("it is cropped at its left or top, or changes its size", packet)
        try:
            return laid_out_as(coded, self._pixel_format or "of unknown format")
        except CodecError as error:
            raise self._refusal(str(error), packet) from error

    def _refusal(self, why: str, packet: "Packet[VideoStream] | None" = None) -> CodecError:
        at = ""
        if self._proven and packet is not None and packet.pts is not None:
            at = f" near {float(packet.pts * packet.time_base):.2f} s"
        what = f"{self._name} does not decode {self._path} ({self._described})"
        return CodecError(f"{what}{at}: {why}; {_INSTEAD}")


@cache
def decoding_kinds() -> tuple[str, ...]:
    """Kinds of device that the decoders inside PyAV can be given, present or not."""
    configs = [
        config
        for name in EXACT_CODECS
        for config in av.codec.Codec(name, "r").hardware_configs
        if config.is_supported
    ]
    offered = {config.device_type.name for config in configs}
    return tuple(kind for kind in hwdevices_available() if kind in offered)


@cache  # opening one takes a part of a second
def device_complaint(name: str) -> str | None:
    """Why a device cannot be opened here, in ffmpeg's words; None where it can.

    Raises CodecError for a name that is none.
    """
    device = Device.named(name)
    words: list[str] = []
    for codec in (av.codec.Codec(codec, "r") for codec in EXACT_CODECS):
        if any(config.device_type.name == device.kind for config in codec.hardware_configs):
            try:
                with own_words() as words:
                    device.accelerator().create(codec)
            except (av.FFmpegError, RuntimeError) as error:
                return said(words, error)
            return None
    return "no decoder takes such a device"


def working_devices() -> list[str]:
    """Kinds of device that can be opened here."""
    return [kind for kind in decoding_kinds() if device_complaint(kind) is None]
