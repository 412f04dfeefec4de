"""The feature-wise boundary map B_t (AP-GAN, III.A): eyes, eyeballs, mouth and nose bridge only.

Few landmarks are used so that identity leaks little: the opening of the eyes, the position of the
eyeballs, the line of the nose bridge and the shape of the mouth say what pose and expression are.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.faces import mesh

# One pixel value a feature; the two sides differ, so that a turned head is not ambiguous.
RIGHT_EYE_VALUE = (255, 0, 0)
LEFT_EYE_VALUE = (255, 128, 0)
RIGHT_EYEBALL_VALUE = (255, 0, 255)
LEFT_EYEBALL_VALUE = (128, 0, 255)
OUTER_LIPS_VALUE = (0, 255, 0)
INNER_LIPS_VALUE = (0, 255, 255)
NOSE_BRIDGE_VALUE = (0, 0, 255)

LINE_WIDTH = 2  # pixels, at 256
_SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 pixel


def draw_boundary_map(landmarks: NDArray[np.floating], size: int = 256) -> NDArray[np.uint8]:
    """Draw the boundary map of aligned landmarks.

    `landmarks` is the mesh (478, 2) in pixels of the 256-pixel crop; the map (size, size, 3) is
    uint8, zero where there is no line, each feature in its own pixel value, anti-aliased. It is
    always drawn at 256 and scaled (III.A, "scaling it to reach the resolution of M").
    """
    canvas: NDArray[Any] = np.zeros((256, 256, 3), np.uint8)
    _polyline(canvas, landmarks[list(mesh.NOSE_BRIDGE)], NOSE_BRIDGE_VALUE, closed=False)
    _polyline(canvas, landmarks[list(mesh.OUTER_LIPS)], OUTER_LIPS_VALUE)
    _polyline(canvas, landmarks[list(mesh.INNER_LIPS)], INNER_LIPS_VALUE)
    _eye(canvas, landmarks, mesh.RIGHT_EYE, mesh.RIGHT_IRIS, RIGHT_EYE_VALUE, RIGHT_EYEBALL_VALUE)
    _eye(canvas, landmarks, mesh.LEFT_EYE, mesh.LEFT_IRIS, LEFT_EYE_VALUE, LEFT_EYEBALL_VALUE)
    if size != 256:
        canvas = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return canvas


def _eye(
    canvas: NDArray[np.uint8],
    landmarks: NDArray[np.floating],
    contour: tuple[int, ...],
    iris: tuple[int, ...],
    contour_value: tuple[int, int, int],
    eyeball_value: tuple[int, int, int],
) -> None:
    """Draw one eye; the eyeball is a disc seen through the lids, so a closed eye shows none."""
    lids = landmarks[list(contour)]
    centre = landmarks[iris[0]]
    radius = float(np.linalg.norm(landmarks[list(iris[1:])] - centre, axis=1).mean())
    opening = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(opening, [_fixed(lids)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    disc = np.zeros(canvas.shape[:2], np.uint8)
    x, y = _fixed(centre[None])[0]
    cv2.circle(
        disc, (int(x), int(y)), round(radius * 2**_SUBPIXEL_BITS), 255, cv2.FILLED, cv2.LINE_AA,
        _SUBPIXEL_BITS,
    )  # fmt: skip
    visible = cv2.multiply(opening, disc, scale=1 / 255)
    for channel, value in enumerate(eyeball_value):
        if value:
            plane = np.ascontiguousarray(canvas[:, :, channel])
            canvas[:, :, channel] = cv2.max(plane, cv2.convertScaleAbs(visible, alpha=value / 255))
    _polyline(canvas, lids, contour_value)


def _polyline(
    canvas: NDArray[np.uint8],
    points: NDArray[np.floating],
    value: tuple[int, int, int],
    closed: bool = True,
) -> None:
    cv2.polylines(canvas, [_fixed(points)], closed, value, LINE_WIDTH, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    """Pixels as OpenCV's fixed-point coordinates; far outliers are clipped to what it can hold."""
    fixed: NDArray[np.int32] = np.rint(np.clip(points, -2000, 2000) * 2**_SUBPIXEL_BITS).astype(
        np.int32
    )
    return fixed
