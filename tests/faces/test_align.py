import cv2
import numpy as np
import pytest

from vidswap.faces.align import (
    TEMPLATE_256,
    align_face,
    face_affine,
    five_points,
    invert_affine,
    similarity_transform,
    warp_points,
)
from vidswap.faces.mesh import (
    LEFT_EYE_CORNERS,
    LEFT_MOUTH_CORNER,
    NOSE_TIP,
    RIGHT_EYE_CORNERS,
    RIGHT_MOUTH_CORNER,
)


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.deg2rad(degrees)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([rotation, shift])


def mesh_with_five_points(points: np.ndarray) -> np.ndarray:
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[list(RIGHT_EYE_CORNERS)] = points[0] + [[-3, 0], [3, 0]]
    landmarks[list(LEFT_EYE_CORNERS)] = points[1] + [[3, 0], [-3, 0]]
    landmarks[NOSE_TIP] = points[2]
    landmarks[RIGHT_MOUTH_CORNER] = points[3]
    landmarks[LEFT_MOUTH_CORNER] = points[4]
    return landmarks


def test_template_is_the_documented_map_of_arcfaces_points() -> None:
    # Right eye and nose tip of ArcFace's published 112-pixel template, by hand.
    expected_eye = ((38.2946 - 56.0) * 1.76 + 128, (51.6963 - 51.6) * 1.76 + 106)
    expected_nose = ((56.0252 - 56.0) * 1.76 + 128, (71.7366 - 51.6) * 1.76 + 106)
    np.testing.assert_allclose(TEMPLATE_256[0], expected_eye)
    np.testing.assert_allclose(TEMPLATE_256[2], expected_nose)


@pytest.mark.parametrize("degrees", [-40, 0, 25])
def test_similarity_transform_recovers_a_known_similarity(degrees: float) -> None:
    known = similarity(0.6, degrees, (20.0, -7.0))
    moved = warp_points(known, TEMPLATE_256)
    np.testing.assert_allclose(similarity_transform(TEMPLATE_256, moved), known, atol=1e-9)


def test_similarity_transform_is_the_least_squares_optimum() -> None:
    random = np.random.default_rng(0)
    noisy = TEMPLATE_256 + random.normal(0, 4, TEMPLATE_256.shape)
    best = similarity_transform(noisy, TEMPLATE_256)

    def error(affine: np.ndarray) -> float:
        return float(((warp_points(affine, noisy) - TEMPLATE_256) ** 2).sum())

    for _ in range(50):
        other = best @ np.vstack(
            [similarity(random.normal(1, 0.01), random.normal(0, 1), (0, 0)), [0, 0, 1]]
        ) + [[0, 0, random.normal()], [0, 0, random.normal()]]
        assert error(best) <= error(other)


def test_coinciding_points_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        similarity_transform(np.ones((5, 2)), TEMPLATE_256)


def test_face_affine_puts_the_five_points_of_a_turned_face_on_the_template() -> None:
    in_frame = similarity(0.4, 30, (300.0, 200.0))
    landmarks = mesh_with_five_points(warp_points(in_frame, TEMPLATE_256))
    aligned = warp_points(face_affine(landmarks), five_points(landmarks))
    np.testing.assert_allclose(aligned, TEMPLATE_256, atol=1e-3)


def test_inverse_undoes_the_affine() -> None:
    affine = similarity(1.7, 12, (5.0, 9.0))
    points = np.random.default_rng(1).uniform(0, 256, (20, 2))
    there_and_back = warp_points(invert_affine(affine), warp_points(affine, points))
    np.testing.assert_allclose(there_and_back, points)


@pytest.mark.parametrize("scale", [0.15, 0.4, 1.0, 2.2])
def test_a_marked_point_lands_where_the_affine_says(scale: float) -> None:
    """A blob in the frame, at crop scales from strong shrinking to enlarging."""
    affine = similarity(scale, 10, (0.0, 0.0))
    wanted = np.array([140.0, 118.0])
    centre = warp_points(invert_affine(affine), np.array([[400.0, 300.0]]))[0]
    affine[:, 2] += wanted - warp_points(affine, centre[None])[0]
    y, x = np.mgrid[0 : int(centre[1] * 2) + 4, 0 : int(centre[0] * 2) + 4]
    sigma = 4.0 / scale
    blob = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    crop = align_face(np.repeat(blob[:, :, None], 3, 2).astype(np.uint8), affine).astype(float)
    weights = crop[:, :, 0]
    found = [(weights.sum(0) * np.arange(256)).sum(), (weights.sum(1) * np.arange(256)).sum()]
    np.testing.assert_allclose(np.array(found) / weights.sum(), wanted, atol=0.15)


def test_strong_shrinking_does_not_alias() -> None:
    """One-pixel stripes must become even grey, not moire."""
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = align_face(stripes, similarity(256 / 1200, 0, (0.0, 0.0)))
    assert crop[20:-20, 20:-20].std() < 4
    naive = cv2.warpAffine(stripes, similarity(256 / 1200, 0, (0.0, 0.0)), (256, 256))
    assert naive[20:-20, 20:-20].std() > 30
