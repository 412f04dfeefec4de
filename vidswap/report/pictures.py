"""The film strip of a report: pictures as data URIs, differences amplified, heat maps."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidswap.metrics.record import Moment
from vidswap.report.plots import seconds_text

Picture = NDArray[np.uint8]

FACTORS = (16, 8, 4, 2, 1)  # of a difference that is shown, the largest that does not burn out
_BELOW_WHITE = 98.0  # per cent of a difference that must stay below white
_BELOW_TOP = 99.5  # per cent of the flow errors that must stay below the top of their scale
_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_QUALITY = 88
_LEGEND_STOPS = 9


@dataclass(frozen=True)
class Still:
    """A moment ready to be shown. label: 1, 2, ... of the worst and A, B, ... of the best; the
    pictures are data URIs, heat None where the flow was not measured."""

    label: str
    kind: str
    frame: int
    seconds: float
    time: str
    because: str
    target: str
    swapped: str
    difference: str
    heat: str | None


@dataclass(frozen=True)
class FilmStrip:
    """All moments in one scale. factor: of the differences. heat_top: grey values at the bright end
    of the heat maps. heat_colours: CSS colours from none to `heat_top`."""

    stills: tuple[Still, ...]
    factor: int
    heat_top: float
    heat_colours: tuple[str, ...]

    def of(self, kind: str) -> list[Still]:
        """The stills of a kind, "worst" or "best"."""
        return [still for still in self.stills if still.kind == kind]


def film_strip(moments: Sequence[Moment]) -> FilmStrip:
    """The moments, worst first, as pictures that share their scales."""
    differences = [absolute_difference(m.target, m.swapped) for m in moments]
    factor = factor_for(differences)
    errors = [m.flow_error for m in moments if m.flow_error is not None]
    top = heat_top_for(errors)
    stills, numbers = [], {"worst": 0, "best": 0}
    for moment, difference in zip(moments, differences, strict=True):
        n = numbers[moment.kind]
        numbers[moment.kind] += 1
        stills.append(
            Still(
                label=str(n + 1) if moment.kind == "worst" else _letters(n),
                kind=moment.kind,
                frame=moment.frame,
                seconds=moment.seconds,
                time=seconds_text(moment.seconds),
                because=moment.because,
                target=as_data_uri(moment.target),
                swapped=as_data_uri(moment.swapped),
                difference=as_data_uri(amplified(difference, factor)),
                heat=as_data_uri(heat_map(moment.flow_error, top))
                if moment.flow_error is not None
                else None,
            )
        )
    return FilmStrip(tuple(stills), factor, top, heat_colours())


def absolute_difference(target: Picture, swapped: Picture) -> Picture:
    """|Y - F| (H, W, 3) uint8, by channel."""
    return np.asarray(cv2.absdiff(target, swapped), np.uint8)


def amplified(difference: Picture, factor: int) -> Picture:
    """The difference times `factor`, cut off at white."""
    return np.clip(difference.astype(np.int32) * factor, 0, 255).astype(np.uint8)


def factor_for(differences: Sequence[Picture]) -> int:
    """One factor for all, so that they can be compared with each other."""
    if not differences:
        return 1
    high = max(float(np.percentile(d, _BELOW_WHITE)) for d in differences)
    return next((factor for factor in FACTORS if factor * high <= 255.0), 1)


def heat_top_for(errors: Sequence[NDArray[np.float32]]) -> float:
    """A round number of grey values that nearly all errors stay below."""
    high = max((float(np.percentile(error, _BELOW_TOP)) for error in errors), default=0.0)
    if high <= 0.0:
        return 1.0
    scale = 10.0 ** np.floor(np.log10(high))
    return float(next(scale * step for step in _ROUND if scale * step >= high * (1 - 1e-9)))


def heat_map(error: NDArray[np.float32], top: float) -> Picture:
    """The error (H, W) as colours (H, W, 3), from black for none to bright for `top`."""
    level = np.clip(np.rint(255.0 * error / top), 0, 255).astype(np.uint8)
    coloured = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)
    return np.ascontiguousarray(coloured[:, :, ::-1], np.uint8)


def heat_colours() -> tuple[str, ...]:
    """The heat map's colours, evenly from none to the top, for its legend."""
    ramp = heat_map(np.linspace(0, 1, _LEGEND_STOPS, dtype=np.float32)[None], 1.0)[0]
    return tuple(f"rgb({r},{g},{b})" for r, g, b in ramp.tolist())


def as_data_uri(rgb: Picture) -> str:
    """A picture (H, W, 3) as JPEG, colour at full resolution: edges are what one looks for."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(rgb))
    image.save(buffer, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _letters(n: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    text = ""
    while n >= 0:
        text = chr(ord("A") + n % 26) + text
        n = n // 26 - 1
    return text
