"""High dynamic range: a view for nets that know standard pictures, and the way back.

PQ and HLG: ITU-R BT.2100 tables 4 and 5. White of graphics at 203 cd/m2: ITU-R BT.2408. The view
is what a BT.709 display of gamma 2.4 (BT.1886) shows, its highlights softly compressed.
"""

import cv2
import numpy as np
import numpy.typing as npt

from vidswap.media.colour import HLG, PQ, ColourTags

_REFERENCE_WHITE = 203.0  # cd/m2 that the view shows as its own white, before compression
_VIEW_PEAK = 1000.0 / _REFERENCE_WHITE  # what the view shows as 255; brighter is clipped
_KNEE = 0.5  # light below it is shown as it is, so that skin keeps its brightness
_GAMMA = 2.4
_HLG_PEAK = 1000.0  # cd/m2 of the nominal display, for which the system gamma is 1.2
_HLG_GAMMA = 1.2
_BT2020_LUMA = (0.2627, 0.6780, 0.0593)
_CARRY = 24.0  # view codes of change at which nothing of the original's fine detail is carried

_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073

_D65 = (0.3127, 0.3290)
# H.273 primaries: x and y of red, green and blue.
_CHROMATICITIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_UNTAGGED = 9  # HDR that does not state its primaries has those of BT.2020

_Float = npt.NDArray[np.float32]


def sdr_view(signal: npt.NDArray[np.uint16], tags: ColourTags) -> npt.NDArray[np.uint8]:
    """View (H, W, 3) uint8 of a full-range PQ or HLG R'G'B' signal (H, W, 3), [0, 65535]."""
    light = display_light(signal, tags)
    light = np.maximum(cv2.transform(light, _primaries_to_bt709(tags.primaries)), 0.0)
    most = brightest(light)
    light *= (compressed(most) / np.maximum(most, 1e-9))[..., None]
    shown: npt.NDArray[np.uint8] = np.rint(cv2.pow(light, 1.0 / _GAMMA) * 255.0).astype(np.uint8)
    return shown


def display_light(signal: npt.NDArray[np.uint16], tags: ColourTags) -> _Float:
    """Light (H, W, 3) that a display gives for a signal, over reference white, own primaries."""
    light: _Float = np.take(_light_table(tags.transfer), signal)
    if tags.transfer == HLG:
        scene = cv2.transform(light, np.array([_BT2020_LUMA], np.float32))
        light *= (_HLG_PEAK / _REFERENCE_WHITE) * cv2.pow(scene, _HLG_GAMMA - 1.0)[..., None]
    return light


def signal_of(light: _Float, tags: ColourTags) -> _Float:
    """Inverse of `display_light`, in [0, 1]."""
    return _pq(light * _REFERENCE_WHITE) if tags.transfer == PQ else _hlg(light)


def hdr_signal(view: npt.NDArray[np.uint8], tags: ColourTags) -> _Float:
    """PQ or HLG R'G'B' signal (H, W, 3) in [0, 1] that `sdr_view` shows as `view`."""
    table = ((np.arange(256) / 255.0) ** _GAMMA).astype(np.float32)
    light = table[view]
    most = brightest(light)
    light *= (expanded(most) / np.maximum(most, 1e-9))[..., None]
    back = np.linalg.inv(_primaries_to_bt709(tags.primaries).astype(np.float64))
    light = np.maximum(cv2.transform(light, back.astype(np.float32)), 0.0)
    return signal_of(light, tags)


def carried(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> _Float:
    """How much of what the view loses (its rounding, clipped light, colours beyond BT.709) to keep.

    From 1 where a pixel of the view is unchanged down to 0 where it is another; (H, W, 1).
    """
    change = brightest(cv2.absdiff(before, after).astype(np.float32))
    weight: _Float = np.clip(1.0 - change / _CARRY, 0.0, 1.0)[..., None]
    return weight


def _light_table(transfer: int) -> _Float:
    """Light of each 16-bit signal value: display light over white for PQ, scene light for HLG."""
    signal = np.arange(65536) / 65535.0
    if transfer == PQ:
        power = signal ** (1.0 / _M2)
        nits = 10000.0 * (np.maximum(power - _C1, 0.0) / (_C2 - _C3 * power)) ** (1.0 / _M1)
        return (nits / _REFERENCE_WHITE).astype(np.float32)
    low, high = signal**2 / 3.0, (np.exp((signal - _C) / _A) + _B) / 12.0
    return np.where(signal <= 0.5, low, high).astype(np.float32)


def _pq(nits: _Float) -> _Float:
    power = (np.clip(nits, 0.0, 10000.0).astype(np.float64) / 10000.0) ** _M1
    signal: _Float = (((_C1 + _C2 * power) / (1.0 + _C3 * power)) ** _M2).astype(np.float32)
    return signal


def _hlg(light: _Float) -> _Float:
    shown = light.astype(np.float64) * (_REFERENCE_WHITE / _HLG_PEAK)
    luminance = np.maximum(shown @ np.array(_BT2020_LUMA), 1e-9)
    scene = np.minimum(shown * luminance[..., None] ** (1.0 / _HLG_GAMMA - 1.0), 1.0)
    high = _A * np.log(np.maximum(12.0 * scene - _B, 1e-9)) + _C
    signal: _Float = np.where(scene <= 1.0 / 12.0, np.sqrt(3.0 * scene), high).astype(np.float32)
    return signal


def compressed(light: _Float) -> _Float:
    """Light above the knee brought below 1: extended Reinhard, of slope 1 at the knee."""
    peak = (_VIEW_PEAK - _KNEE) / (1.0 - _KNEE)
    above = np.clip((light - _KNEE) / (1.0 - _KNEE), 0.0, peak)
    curve = above * (1.0 + above / peak**2) / (1.0 + above)
    return np.where(light <= _KNEE, light, _KNEE + (1.0 - _KNEE) * curve)


def expanded(light: _Float) -> _Float:
    """Inverse of `compressed`: the positive root of its quadratic."""
    peak = (_VIEW_PEAK - _KNEE) / (1.0 - _KNEE)
    curve = np.clip((light - _KNEE) / (1.0 - _KNEE), 0.0, 1.0)
    rest = 1.0 - curve
    above = 0.5 * peak**2 * (np.sqrt(rest**2 + 4.0 * curve / peak**2) - rest)
    return np.where(light <= _KNEE, light, _KNEE + (1.0 - _KNEE) * above)


def brightest(picture: _Float) -> _Float:
    """Largest of three channels; a reduction over an axis of length three takes longer."""
    return np.maximum(np.maximum(picture[..., 0], picture[..., 1]), picture[..., 2])


def _primaries_to_bt709(primaries: int) -> _Float:
    """Matrix from linear R, G, B of H.273 primaries to those of BT.709."""
    known = primaries if primaries in _CHROMATICITIES else _UNTAGGED
    return (np.linalg.inv(_to_xyz(1)) @ _to_xyz(known)).astype(np.float32)


def _to_xyz(primaries: int) -> npt.NDArray[np.float64]:
    """Matrix from linear R, G, B to CIE XYZ with white D65 at Y = 1, SMPTE RP 177."""
    columns = np.array([[x / y, 1.0, (1.0 - x - y) / y] for x, y in _CHROMATICITIES[primaries]]).T
    x, y = _D65
    gains = np.linalg.solve(columns, np.array([x / y, 1.0, (1.0 - x - y) / y]))
    return np.asarray(columns * gains, dtype=np.float64)
