"""Masks cover what their names say; a blend keeps what is outside and hides the filling's tone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import vidswap.faces
from vidswap.errors import BadOptionError
from vidswap.faces import mesh
from vidswap.faces.align import CROP_SIZE, face_affine, warp_points
from vidswap.inpainting.blending import poisson_blend
from vidswap.inpainting.masks import (
    REGIONS,
    background_mask,
    centre_square,
    check_mask,
    colour_key,
    half,
    irregular,
    occluder_mask,
    random_block,
    random_pixels,
    region_mask,
)


def mesh_in_crop() -> np.ndarray:
    """The canonical face, seen from the front, aligned as a crop is."""
    canonical = np.load(Path(vidswap.faces.__file__).with_name("canonical_mesh.npy"))
    flat = np.zeros((mesh.N_LANDMARKS, 2))
    flat[: len(canonical)] = canonical[:, :2]
    return warp_points(face_affine(flat), flat)


POINTS = mesh_in_crop()


def _smooth_picture(seed: int = 0, size: int = 96) -> np.ndarray:
    random = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(random.uniform(0, 255, (size, size, 3)), (0, 0), 12)
    picture = 127 + (picture - picture.mean()) * 12
    return picture.clip(40, 215).astype(np.uint8)


def test_the_centre_square_has_three_fifths_of_the_side() -> None:
    mask = centre_square(100)
    assert mask.sum() == 60 * 60 and mask[20, 20] and not mask[19, 50] and not mask[80, 50]


def test_a_block_of_48_of_128_lies_inside_and_anywhere() -> None:
    random = np.random.default_rng(0)
    corners = set()
    for _ in range(50):
        mask = random_block(128, random)
        assert mask.sum() == 48 * 48
        ys, xs = np.nonzero(mask)
        assert ys.max() - ys.min() == xs.max() - xs.min() == 47
        corners.add((int(ys.min()), int(xs.min())))
    assert len(corners) > 40
    assert max(c[0] for c in corners) > 60 and min(c[0] for c in corners) < 20


def test_irregular_masks_stay_within_their_shares_and_differ() -> None:
    random = np.random.default_rng(1)
    masks = [irregular(128, random) for _ in range(20)]
    shares = [mask.mean() for mask in masks]
    assert min(shares) >= 0.1 and max(shares) < 0.55
    assert len({mask.tobytes() for mask in masks}) == 20


def test_halves_make_a_whole_and_single_pixels_come_to_their_share() -> None:
    assert (half(64, "left") ^ half(64, "right")).all()
    assert (half(64, "upper") ^ half(64, "lower")).all()
    share = random_pixels(200, 0.8, np.random.default_rng(0)).mean()
    assert share == pytest.approx(0.8, abs=0.01)
    with pytest.raises(BadOptionError, match="allowed: left"):
        half(64, "top")


@pytest.mark.parametrize("size", [64, 256])
def test_regions_cover_their_own_features_and_not_the_others(size: int) -> None:
    def share(region: str, points: tuple[int, ...]) -> float:
        mask = region_mask(POINTS, region, size)  # type: ignore[arg-type]
        at = np.rint((POINTS[list(points)] + 0.5) * size / CROP_SIZE - 0.5).astype(int)
        return float(mask[at[:, 1], at[:, 0]].mean())

    eyes = mesh.RIGHT_EYE + mesh.LEFT_EYE
    assert share("eyes", eyes) == share("glasses", eyes) == share("face", eyes) == 1.0
    assert share("mouth", mesh.OUTER_LIPS) == share("face", mesh.OUTER_LIPS) == 1.0
    assert share("mouth", eyes) == share("eyes", mesh.OUTER_LIPS) == 0.0
    assert share("lower-face", mesh.OUTER_LIPS) == 1.0 and share("lower-face", eyes) == 0.0
    for region in REGIONS:
        assert 0 < region_mask(POINTS, region, size).mean() < 0.6


def test_the_background_is_what_the_face_oval_leaves() -> None:
    mask = background_mask(POINTS, 128)
    centre = POINTS[list(mesh.FACE_OVAL)].mean(axis=0) / 2
    assert not mask[int(centre[1]), int(centre[0])] and mask[0, 0] and mask[-1, -1]


def test_a_colour_key_finds_its_colour_alone() -> None:
    picture = np.full((20, 30, 3), (10, 200, 30), np.uint8)
    picture[5:10, 5:10] = (250, 0, 250)
    mask = colour_key(picture, (255, 0, 255))
    assert mask.sum() == 25 and mask[5:10, 5:10].all()


def test_what_the_occlusion_net_found_is_masked_with_a_margin() -> None:
    found = np.zeros((128, 128), np.float32)
    found[40:60, 40:60] = 1.0
    mask = occluder_mask(found, 256)
    assert mask[80:120, 80:120].all() and mask[100, 76] and not mask[100, 68]


def test_masks_that_do_not_fit_or_fill_nothing_are_refused() -> None:
    with pytest.raises(BadOptionError, match="30x20 pixels and the target 64x64"):
        check_mask(np.ones((20, 30), bool), (64, 64), "mask.png")
    with pytest.raises(BadOptionError, match="empty"):
        check_mask(np.zeros((8, 8), bool), (8, 8), "mask.png")
    with pytest.raises(BadOptionError, match="covers everything"):
        check_mask(np.ones((8, 8), bool), (8, 8), "mask.png")


@pytest.mark.parametrize("kind", ["square", "strokes", "edge", "corner"])
def test_a_blend_keeps_every_pixel_outside_and_the_fillings_detail_inside(kind: str) -> None:
    picture = _smooth_picture()
    if kind == "square":
        mask = centre_square(96)
    elif kind == "strokes":
        mask = irregular(96, np.random.default_rng(3))
    else:
        mask = np.zeros((96, 96), bool)
        mask[20:60, 50:] = True
        if kind == "corner":
            mask[:30, 60:] = True
    holed = picture.copy()
    holed[mask] = 255  # what lies under the mask must not matter
    darker = np.clip(picture.astype(int) - 30, 0, 255).astype(np.uint8)
    blended = poisson_blend(holed, darker, mask)
    assert np.array_equal(blended[~mask], holed[~mask])
    error = np.abs(blended.astype(int) - picture)[mask]
    # The filling's own tone is 30 levels off.
    assert error.mean() < 3.0


def test_what_lies_under_the_mask_has_no_part_in_the_blend() -> None:
    picture, filling, mask = _smooth_picture(), _smooth_picture(1), centre_square(96)
    white, black = picture.copy(), picture.copy()
    white[mask], black[mask] = 255, 0
    assert np.array_equal(poisson_blend(white, filling, mask), poisson_blend(black, filling, mask))


def test_a_hole_across_the_whole_picture_is_filled() -> None:
    picture, mask = _smooth_picture(), np.zeros((96, 96), bool)
    mask[60:] = True
    darker = np.clip(picture.astype(int) - 30, 0, 255).astype(np.uint8)
    blended = poisson_blend(picture, darker, mask)
    assert np.array_equal(blended[:60], picture[:60])
    assert np.abs(blended.astype(int) - picture)[60:].mean() < 10.0


def test_an_empty_mask_changes_nothing() -> None:
    picture = _smooth_picture()
    assert poisson_blend(picture, 255 - picture, np.zeros((96, 96), bool)) is picture
