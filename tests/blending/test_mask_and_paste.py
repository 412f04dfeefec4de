import cv2
import numpy as np
import pytest

from vidswap.blending.mask import face_mask, mirrored_sigmoid_mask
from vidswap.blending.paste import (
    EDGE_RAMP,
    blend,
    blend_reference,
    blending_mask,
    crop_box,
    on_frame,
    paste_face,
    swapped_part,
)
from vidswap.faces.align import align_face, invert_affine, warp_points
from vidswap.faces.mesh import FACE_OVAL


def affine_of(scale: float, degrees: float, centre: tuple[float, float]) -> np.ndarray:
    """Frame to crop, with the frame's `centre` in the crop's centre."""
    angle = np.deg2rad(degrees)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([rotation, [127.5, 127.5] - rotation @ centre])


def smooth_picture(height: int, width: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("x", "y"), [(128, 128), (40, 128), (10, 200), (0, 0), (255, 255)])
def test_mask_is_equation_12(x: int, y: int) -> None:
    mid, alpha, gamma = 128.0, 0.08, 0.7
    expected = 1 / (1 + np.exp(alpha * (max(abs(x - mid), abs(y - mid)) - gamma * mid)))
    assert mirrored_sigmoid_mask()[y, x] == pytest.approx(expected, rel=1e-6)


def test_mask_is_one_half_at_the_inflection() -> None:
    mask = mirrored_sigmoid_mask()
    assert mask[128, 128 - 90] < 0.5 < mask[128, 128 - 89]


def test_blending_mask_keeps_equation_12_inside_and_ends_at_zero() -> None:
    mask, inner = blending_mask(), slice(EDGE_RAMP, -EDGE_RAMP)
    np.testing.assert_array_equal(mask[inner, inner], mirrored_sigmoid_mask()[inner, inner])
    for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
        assert edge.max() == 0


def test_face_mask_is_one_inside_the_outline_and_zero_well_outside() -> None:
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    outline = np.stack([128 + 50 * np.cos(angles), 140 + 70 * np.sin(angles)], axis=1)
    mask = face_mask(outline)
    assert mask[140, 128] == pytest.approx(1.0) and mask[140, 128 + 42] == pytest.approx(
        1.0, abs=0.02
    )
    assert mask[140, 128 + 80] < 1e-4 and mask[20, 128] < 1e-4
    # Half at the enlarged outline.
    assert mask[140, 128 + 55] == pytest.approx(0.5, abs=0.1)


def test_fast_blend_is_equation_13() -> None:
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (40, 50, 3), np.uint8)
    face = random.integers(0, 256, (40, 50, 3), np.uint8)
    weight = random.uniform(0, 1, (40, 50)).astype(np.float32)
    weight[:5] = 0
    weight[5:10] = 1
    expected = blend_reference(frame, face, weight)
    blend(frame, face, weight)
    # The reference rounds in double precision.
    assert np.abs(frame.astype(int) - expected).max() <= 1
    assert (frame != expected).mean() < 0.001


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("degrees", [0, 17])
def test_pasting_the_untouched_crop_changes_the_frame_little(scale: float, degrees: float) -> None:
    frame = smooth_picture(360, 480, 1)
    affine = affine_of(scale, degrees, (240.0, 180.0))
    patch = paste_face(frame, align_face(frame, affine), affine)
    assert patch is not None
    left, top, right, bottom = patch.box
    before = frame[top:bottom, left:right].astype(int)
    mask_core = np.abs(patch.rgb.astype(int) - before)
    assert mask_core.mean() < 1.5


def test_a_swapped_crop_lands_where_it_was_cut() -> None:
    frame = np.zeros((300, 400, 3), np.uint8)
    affine = affine_of(1.3, -20, (220.0, 140.0))
    swapped = np.zeros((256, 256, 3), np.uint8)
    cv2.circle(swapped, (150, 120), 8, (255, 255, 255), -1)
    patch = paste_face(frame, swapped, affine)
    assert patch is not None
    left, top, right, bottom = patch.box
    frame[top:bottom, left:right] = patch.rgb
    weights = frame[:, :, 0].astype(float)
    found = np.array(
        [(weights.sum(0) * np.arange(400)).sum(), (weights.sum(1) * np.arange(300)).sum()]
    )
    expected = warp_points(invert_affine(affine), np.array([[150.0, 120.0]]))[0]
    np.testing.assert_allclose(found / weights.sum(), expected, atol=0.2)


@pytest.mark.parametrize("scale", [2.0, 0.6])  # a box inside the frame; the whole frame
def test_the_given_frame_is_not_written_to(scale: float) -> None:
    frame = smooth_picture(200, 200, 2)
    copy = frame.copy()
    paste_face(frame, np.full((256, 256, 3), 255, np.uint8), affine_of(scale, 0, (100.0, 100.0)))
    np.testing.assert_array_equal(frame, copy)


def test_the_centre_is_the_swap_and_the_corner_is_the_frame() -> None:
    frame = np.full((256, 256, 3), 10, np.uint8)
    patch = paste_face(
        frame, np.full((256, 256, 3), 210, np.uint8), affine_of(1, 0, (127.5, 127.5))
    )
    assert patch is not None and patch.box == (0, 0, 256, 256)
    assert abs(int(patch.rgb[128, 128, 0]) - 210) <= 1
    assert patch.rgb[0, 0, 0] == 10


def test_a_face_half_outside_is_clipped_to_the_frame() -> None:
    frame = smooth_picture(120, 160, 3)
    patch = paste_face(frame, np.zeros((256, 256, 3), np.uint8), affine_of(2.0, 5, (0.0, 60.0)))
    assert patch is not None
    left, top, right, bottom = patch.box
    assert (left, top) == (0, 0) and right < 160 and bottom == 120
    assert patch.rgb.shape == (bottom - top, right - left, 3)


def test_a_face_outside_the_frame_gives_nothing() -> None:
    affine = affine_of(1.0, 0, (900.0, 900.0))
    assert crop_box(affine, 160, 120) is None
    frame = np.zeros((120, 160, 3), np.uint8)
    assert paste_face(frame, np.zeros((256, 256, 3), np.uint8), affine) is None


def test_the_part_within_an_outline_is_replaced_whole_and_fades_at_the_crops_edge() -> None:
    points = np.zeros((478, 2))
    angles = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    circle = np.stack([127.5 + 80 * np.sin(angles), 127.5 - 100 * np.cos(angles)], axis=1)
    points[list(FACE_OVAL)] = circle
    part = swapped_part(points)
    assert part[50:200, 100:156].min() > 0.98  # brows and mouth, where eq. 12 is 0.83 at most
    assert blending_mask()[50, 127] < 0.75
    assert part[127, 5] == part[127, 250] == 0  # beside the face
    assert part[0].max() == part[-1].max() == 0
    np.testing.assert_array_equal(swapped_part(points, "square"), blending_mask())
    visibility = np.ones((128, 128), np.float32)
    visibility[60:] = 0.0
    seen = swapped_part(points, visibility=visibility)
    np.testing.assert_array_equal(seen[:118], part[:118])
    assert seen[122:].max() == 0.0
    np.testing.assert_array_equal(swapped_part(points, "outline", visibility), part)


@pytest.mark.parametrize(("box", "side"), [((150, 120, 330, 400), 256), ((0, 0, 90, 70), 512)])
def test_a_part_of_a_crop_is_sampled_as_the_whole_is(
    box: tuple[int, int, int, int], side: int
) -> None:
    """Of an enlarged crop only what the box shows is enlarged; the pixels are the same."""
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    affine = np.array([[0.34, 0.05, -20.0], [-0.05, 0.34, 10.0]])
    whole = on_frame(picture, affine, (-50, -50, 700, 700))
    left, top, right, bottom = box
    part = on_frame(picture, affine, box)
    np.testing.assert_array_equal(part, whole[top + 50 : bottom + 50, left + 50 : right + 50])
