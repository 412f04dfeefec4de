"""Between the numbers of a frame in whatever colour space, light, and the view that nets are given.

Codes are a frame's own numbers, [0, 1] over the range of an integer format and as they are in a
float one. Light is proportional to light, in primaries that `chromaticities` state; 1 is white of
graphics. The view is 8-bit sRGB, its highlights compressed as those of HDR clips are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from vidswap.errors import BadOptionError, MissingLibraryError
from vidswap.media import hdr
from vidswap.media.colour import HLG, ColourTags
from vidswap.runtime.text import shown

Float = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Chromaticities = tuple[float, ...]  # x and y of red, green, blue and white

BT709: Chromaticities = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
BT2020: Chromaticities = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
P3_D65: Chromaticities = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290)
ACES_AP0: Chromaticities = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
ACES_AP1: Chromaticities = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)

SRGB, LINEAR = "srgb", "linear"
_OF_PRIMARIES = {9: BT2020, 12: P3_D65}  # H.273
_CONFIG = "ocio://studio-config-latest"
_REFERENCE = "lin_rec709"
# What people say for spaces whose full names say more.
_ALIASES = {
    "logc": "ARRI LogC3 (EI800)", "logc3": "ARRI LogC3 (EI800)", "logc4": "ARRI LogC4",
    "slog3": "S-Log3 S-Gamut3.Cine", "vlog": "V-Log V-Gamut",
}  # fmt: skip
_KNOWN_PRIMARIES = {"acescg": ACES_AP1, "aces2065-1": ACES_AP0}
# Bradford's cone responses, by which white of one light is taken for white of another.
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_LARGEST_HALF = 65504.0


class ColourSpace(Protocol):
    """How the codes of a frame are seen, and which light they are; pictures are (H, W, 3).

    carries_all: what the view loses of a code is kept whole where the view changes (a view of
    the same encoding), instead of fading with the change.
    """

    @property
    def name(self) -> str: ...

    @property
    def chromaticities(self) -> Chromaticities: ...

    @property
    def is_linear(self) -> bool: ...

    @property
    def carries_all(self) -> bool: ...

    def view(self, codes: Float) -> Pixels:
        """The view of codes."""

    def codes(self, view: Pixels) -> Float:
        """Codes whose view it is, those of no light that the view had lost."""

    def light(self, codes: Float) -> Float:
        """The light of codes."""

    def from_light(self, light: Float) -> Float:
        """The codes of light."""


@dataclass(frozen=True)
class DisplaySpace:
    """sRGB: the view is the codes in 8 bits. IEC 61966-2-1."""

    name: str = SRGB
    chromaticities: Chromaticities = BT709
    is_linear: bool = False
    carries_all: bool = True

    def view(self, codes: Float) -> Pixels:
        shown: Pixels = np.rint(np.clip(codes, 0.0, 1.0) * 255.0).astype(np.uint8)
        return shown

    def codes(self, view: Pixels) -> Float:
        return view.astype(np.float32) / np.float32(255.0)

    def light(self, codes: Float) -> Float:
        return srgb_light(codes)

    def from_light(self, light: Float) -> Float:
        return srgb_codes(light)


@dataclass(frozen=True)
class HdrSpace:
    """PQ or HLG of a clip, as its tags state. Light is in units of 203 cd/m2, ITU-R BT.2408."""

    tags: ColourTags
    name: str
    chromaticities: Chromaticities
    is_linear: bool = False
    carries_all: bool = False

    def view(self, codes: Float) -> Pixels:
        return hdr.sdr_view(np.rint(np.clip(codes, 0, 1) * 65535.0).astype(np.uint16), self.tags)

    def codes(self, view: Pixels) -> Float:
        return hdr.hdr_signal(view, self.tags)

    def light(self, codes: Float) -> Float:
        signal = np.rint(np.clip(codes, 0, 1) * 65535.0).astype(np.uint16)
        return hdr.display_light(signal, self.tags)

    def from_light(self, light: Float) -> Float:
        return hdr.signal_of(np.maximum(light, 0.0), self.tags)


@dataclass(frozen=True, eq=False)
class SceneSpace:
    """Codes that are light, or become it by OpenColorIO.

    `to_bt709` (3, 3) takes its light to BT.709's; `decoder` and `encoder` are processors between
    codes and light, None where the codes are light.
    """

    name: str
    chromaticities: Chromaticities
    to_bt709: npt.NDArray[np.float64]
    decoder: Any = None
    encoder: Any = None
    carries_all: bool = False

    @property
    def is_linear(self) -> bool:
        return self.decoder is None

    def view(self, codes: Float) -> Pixels:
        light = np.nan_to_num(self.light(codes), nan=0.0, posinf=_LARGEST_HALF, neginf=0.0)
        seen = np.maximum(cv2.transform(light, self.to_bt709.astype(np.float32)), 0.0)
        most = hdr.brightest(seen)
        seen *= (hdr.compressed(most) / np.maximum(most, 1e-9))[..., None]
        shown: Pixels = np.rint(srgb_codes(seen) * 255.0).astype(np.uint8)
        return shown

    def codes(self, view: Pixels) -> Float:
        light = np.take(_SRGB_LIGHT, view)
        most = hdr.brightest(light)
        light *= (hdr.expanded(most) / np.maximum(most, 1e-9))[..., None]
        back = np.linalg.inv(self.to_bt709).astype(np.float32)
        return self.from_light(np.asarray(cv2.transform(light, back), np.float32))

    def light(self, codes: Float) -> Float:
        return codes if self.decoder is None else _applied(self.decoder, codes)

    def from_light(self, light: Float) -> Float:
        return light if self.encoder is None else _applied(self.encoder, light)


def linear_space(chromaticities: Chromaticities = BT709) -> SceneSpace:
    """Light in the primaries that a file states."""
    return SceneSpace(LINEAR, chromaticities, rgb_to_rgb(chromaticities, BT709))


def space_of_clip(tags: ColourTags) -> ColourSpace:
    """That of a clip's R'G'B': PQ or HLG where its tags say so, else taken for sRGB."""
    if not tags.is_hdr:
        return DisplaySpace()
    chromaticities = _OF_PRIMARIES.get(tags.primaries, BT709 if tags.primaries == 1 else BT2020)
    return HdrSpace(tags, "HLG" if tags.transfer == HLG else "PQ", chromaticities)


@lru_cache(maxsize=16)
def named_space(name: str, chromaticities: Chromaticities = BT709) -> ColourSpace:
    """A colour space by its name: "srgb", "linear", or one that OpenColorIO has built in.

    `chromaticities` are those that a file of "linear" states. Raises BadOptionError for a name
    that is not known, MissingLibraryError where OpenColorIO is needed and absent.
    """
    wanted = name.strip().lower()
    if wanted == SRGB:
        return DisplaySpace()
    if wanted == LINEAR:
        return linear_space(chromaticities)
    try:
        ocio = import_module("PyOpenColorIO")
    except ImportError as error:
        raise MissingLibraryError(
            f"colour space {shown(name)} is one of OpenColorIO's, which is absent; install it "
            f"(pip install 'vidswap[layers]'), or name {SRGB} or {LINEAR}"
        ) from error
    config = ocio.Config.CreateFromBuiltinConfig(_CONFIG)
    found = config.getColorSpace(_ALIASES.get(wanted, name.strip()))
    if found is None:
        raise BadOptionError(
            f"--colour-space {shown(name)}; it must be {SRGB}, {LINEAR}, or a name of "
            f"OpenColorIO's studio config, such as ACEScg, LogC or {_some_names(config)}"
        )
    there, back = (
        config.getProcessor(*pair).getDefaultCPUProcessor()
        for pair in ((found.getName(), _REFERENCE), (_REFERENCE, found.getName()))
    )
    if found.getEncoding() != "scene-linear":
        return SceneSpace(found.getName(), BT709, np.eye(3), there, back)
    matrix = _applied(there, np.eye(3, dtype=np.float32)[None])[0].T.astype(np.float64)
    known = _KNOWN_PRIMARIES.get(found.getName().lower()) or _chromaticities(matrix)
    return SceneSpace(found.getName(), known, matrix)


def srgb_light(codes: Float) -> Float:
    """IEC 61966-2-1 to light; codes beyond [0, 1] go on along the curve, mirrored below 0."""
    size = np.abs(codes)
    low, high = size / np.float32(12.92), cv2.pow((size + 0.055) / 1.055, 2.4)
    light: Float = np.copysign(np.where(size <= 0.04045, low, high), codes).astype(np.float32)
    return light


def srgb_codes(light: Float) -> Float:
    """Inverse of `srgb_light`."""
    size = np.ascontiguousarray(np.abs(light), np.float32)
    high = cv2.pow(size, 1.0 / 2.4) * np.float32(1.055) - np.float32(0.055)
    codes = np.where(size <= 0.0031308, size * np.float32(12.92), high)
    return np.copysign(codes, light).astype(np.float32)


def rgb_to_rgb(source: Chromaticities, target: Chromaticities) -> npt.NDArray[np.float64]:
    """Matrix (3, 3) from light in one set of primaries to another's, white on white (Bradford)."""
    return np.asarray(np.linalg.inv(_to_xyz(target)) @ _adapted(source, target) @ _to_xyz(source))


def _to_xyz(chromaticities: Chromaticities) -> npt.NDArray[np.float64]:
    """SMPTE RP 177."""
    pairs = [(chromaticities[n], chromaticities[n + 1]) for n in (0, 2, 4)]
    columns = np.array([[x, y, 1.0 - x - y] for x, y in pairs]).T
    return np.asarray(columns * np.linalg.solve(columns, _white(chromaticities)))


def _white(chromaticities: Chromaticities) -> npt.NDArray[np.float64]:
    x, y = chromaticities[6:]
    return np.array([x / y, 1.0, (1.0 - x - y) / y])


def _adapted(source: Chromaticities, target: Chromaticities) -> npt.NDArray[np.float64]:
    gains = (_CONES @ _white(target)) / (_CONES @ _white(source))
    return np.asarray(np.linalg.inv(_CONES) @ np.diag(gains) @ _CONES)


def _chromaticities(to_bt709: npt.NDArray[np.float64]) -> Chromaticities:
    """Of the primaries that a matrix to BT.709 has, with its white."""
    xyz = _to_xyz(BT709) @ to_bt709
    pairs = [(c[0] / c.sum(), c[1] / c.sum()) for c in (*xyz.T, xyz.sum(axis=1))]
    return tuple(float(value) for pair in pairs for value in pair)


def _applied(processor: Any, rgb: Float) -> Float:
    result = np.array(rgb, np.float32, order="C")
    processor.applyRGB(result)
    return result


def _some_names(config: Any) -> str:
    names = [str(name) for name in config.getColorSpaceNames() if "Log" in str(name)]
    return ", ".join(names[:6])


_SRGB_LIGHT = srgb_light(np.arange(256, dtype=np.float32)[None, :] / np.float32(255.0))[0]
