import numpy as np

from vidswap.faces import mesh
from vidswap.faces.boundary_map import (
    INNER_LIPS_VALUE,
    LEFT_EYE_VALUE,
    NOSE_BRIDGE_VALUE,
    OUTER_LIPS_VALUE,
    RIGHT_EYE_VALUE,
    RIGHT_EYEBALL_VALUE,
    draw_boundary_map,
)


def ellipse(n: int, centre: tuple[float, float], rx: float, ry: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([centre[0] + rx * np.cos(angle), centre[1] + ry * np.sin(angle)], axis=1)


def schematic_face(eye_opening: float = 8.0) -> np.ndarray:
    """A mesh whose features are ellipses far from each other."""
    landmarks = np.full((478, 2), -50.0, np.float32)
    landmarks[list(mesh.RIGHT_EYE)] = ellipse(16, (80, 100), 20, eye_opening)
    landmarks[list(mesh.LEFT_EYE)] = ellipse(16, (170, 100), 20, eye_opening)
    for iris, x in ((mesh.RIGHT_IRIS, 80), (mesh.LEFT_IRIS, 170)):
        landmarks[iris[0]] = (x, 100)
        landmarks[list(iris[1:])] = ellipse(4, (x, 100), 6, 6)
    landmarks[list(mesh.OUTER_LIPS)] = ellipse(20, (125, 200), 40, 24)
    landmarks[list(mesh.INNER_LIPS)] = ellipse(20, (125, 200), 25, 10)
    landmarks[list(mesh.NOSE_BRIDGE)] = np.stack([np.full(7, 125), np.linspace(90, 150, 7)], axis=1)
    return landmarks


def test_each_feature_has_its_own_value_where_its_landmarks_are() -> None:
    canvas = draw_boundary_map(schematic_face())
    assert canvas.shape == (256, 256, 3) and canvas.dtype == np.uint8
    assert tuple(canvas[100, 60]) == RIGHT_EYE_VALUE
    assert tuple(canvas[100, 190]) == LEFT_EYE_VALUE
    assert tuple(canvas[100, 80]) == RIGHT_EYEBALL_VALUE
    assert tuple(canvas[200, 85]) == OUTER_LIPS_VALUE
    assert tuple(canvas[200, 100]) == INNER_LIPS_VALUE
    assert tuple(canvas[120, 125]) == NOSE_BRIDGE_VALUE


def test_nothing_else_is_drawn() -> None:
    """Brows, cheeks, jaw and the face oval would tell identity."""
    canvas = draw_boundary_map(schematic_face()).max(axis=2)
    for y, x in [(60, 80), (60, 170), (150, 60), (150, 200), (240, 125), (20, 125)]:
        assert canvas[y, x] == 0


def test_lines_are_anti_aliased() -> None:
    canvas = draw_boundary_map(schematic_face())
    green = canvas[150:250, :, 1]
    assert ((green > 0) & (green < 255)).sum() > 50


def test_moving_the_landmarks_by_less_than_a_pixel_moves_the_lines() -> None:
    def centre(shift: float) -> float:
        line = draw_boundary_map(schematic_face() + np.array([shift, 0]))[110:140, :, 2].astype(
            float
        )
        return float((line * np.arange(256)).sum() / line.sum())

    assert abs(centre(0.5) - centre(0.0) - 0.5) < 0.15


def test_a_closed_eye_hides_the_eyeball() -> None:
    eyeball = (slice(90, 111), slice(70, 91), 2)
    opened = draw_boundary_map(schematic_face(8.0))[eyeball].astype(int).sum()
    closed = draw_boundary_map(schematic_face(0.3))[eyeball].astype(int).sum()
    assert closed < 0.1 * opened


def test_a_smaller_map_is_the_area_average() -> None:
    landmarks = schematic_face()
    full, half = draw_boundary_map(landmarks), draw_boundary_map(landmarks, 128)
    average = full.reshape(128, 2, 128, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(half - average).max() <= 1
