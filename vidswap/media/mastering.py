"""Static HDR metadata: the mastering display (SMPTE ST 2086) and the content's light level."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.buffer import Buffer
from av.sidedata.sidedata import Type

_CHROMATICITY_STEP = Fraction(1, 50_000)  # units of the H.264 and H.265 messages
_LUMINANCE_STEP = Fraction(1, 10_000)  # cd/m2

# What changes from frame to frame and no encoder here writes again.
_NOT_KEPT = {
    Type.DYNAMIC_HDR_PLUS: "HDR10+ dynamic metadata",
    Type.DYNAMIC_HDR_VIVID: "HDR Vivid dynamic metadata",
    Type.DOVI_METADATA: "Dolby Vision metadata",
    Type.DOVI_RPU_BUFFER: "Dolby Vision metadata",
}


@dataclass(frozen=True)
class HdrMetadata:
    """What a clip says of its light.

    chromaticities: x, y of red, green, blue and white; luminance: least and greatest in cd/m2;
    both empty where not stated. light_level: MaxCLL and MaxFALL in cd/m2, or empty.
    not_kept: names of metadata that no output here can have.
    """

    chromaticities: tuple[Fraction, ...] = ()
    luminance: tuple[Fraction, ...] = ()
    light_level: tuple[int, ...] = ()
    not_kept: tuple[str, ...] = ()

    @classmethod
    def of(cls, coded: av.VideoFrame) -> "HdrMetadata":
        """The metadata of a decoded frame, wherever in the file it stands."""
        side_data = cast(Mapping[Type, Buffer], coded.side_data)
        not_kept = sorted({name for kind, name in _NOT_KEPT.items() if side_data.get(kind)})
        mastering, level = (
            side_data.get(kind)
            for kind in (Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL)
        )
        chromaticities, luminance = _mastering(bytes(mastering)) if mastering else ((), ())
        light_level = struct.unpack_from("=2I", bytes(level)) if level else ()
        return cls(chromaticities, luminance, light_level, tuple(not_kept))

    @property
    def is_empty(self) -> bool:
        return not (self.chromaticities or self.light_level)

    def encoder_options(self, encoder: str) -> dict[str, str] | None:
        """Option of an encoder that makes it write this; None where it has none."""
        if encoder in ("libx265", "libx264"):
            steps = (_CHROMATICITY_STEP, _LUMINANCE_STEP)
            names = ("master-display", "max-cll", "x265-params")
            if encoder == "libx264":
                names = ("mastering-display", "cll", "x264-params")
            return {names[2]: self._parameters(names[0], names[1], steps)}
        if encoder == "libsvtav1":
            return {"svtav1-params": self._parameters("mastering-display", "content-light", None)}
        return None

    def _parameters(self, display: str, level: str, steps: tuple[Fraction, Fraction] | None) -> str:
        found = []
        if len(self.chromaticities) == 8 and len(self.luminance) == 2:
            x = [_number(value, steps and steps[0]) for value in self.chromaticities]
            low, high = (_number(value, steps and steps[1]) for value in self.luminance)
            found.append(
                f"{display}=G({x[2]},{x[3]})B({x[4]},{x[5]})R({x[0]},{x[1]})"
                f"WP({x[6]},{x[7]})L({high},{low})"
            )
        if self.light_level:
            found.append(f"{level}={self.light_level[0]},{self.light_level[1]}")
        return ":".join(found)


def _mastering(stored: bytes) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """Chromaticities and luminance of an AVMasteringDisplayMetadata: ten rationals, two flags."""
    numbers = struct.unpack_from("=22i", stored)
    rationals = [
        Fraction(top, bottom) if bottom else Fraction(0)
        for top, bottom in zip(numbers[:20:2], numbers[1:20:2], strict=True)
    ]
    has_primaries, has_luminance = numbers[20:22]
    return (
        tuple(rationals[:8]) if has_primaries else (),
        tuple(rationals[8:]) if has_luminance else (),
    )


def _number(value: Fraction, step: Fraction | None) -> str:
    return f"{float(value):.6f}" if step is None else str(round(value / step))
