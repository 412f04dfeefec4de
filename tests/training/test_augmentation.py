import cv2
import numpy as np
import pytest

from tests.training.test_pairs import schematic_points
from vidswap.faces import mesh
from vidswap.training.augmentation import (
    CHANCES,
    DRAWINGS,
    DegradationConfig,
    add_occluder,
    degrade,
)

KINDS = sorted(DRAWINGS)
UNTOUCHED = DegradationConfig(gamma=0, temperature=0, scaling=0, blur=0, noise=0, jpeg=0)


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    return schematic_points().astype(np.float32)


def portrait(size: int, landmarks: np.ndarray) -> np.ndarray:
    """A skin-coloured face on a blue ground, with texture, (size, size, 3)."""
    noise = np.random.default_rng(5).normal(0, 6, (size, size, 3))
    picture = np.full((size, size, 3), (70, 90, 140), np.uint8)
    oval = (landmarks[list(mesh.FACE_OVAL)] + 0.5) * size / 256 - 0.5
    cv2.fillPoly(picture, [np.rint(oval).astype(np.int32)], (190, 150, 130))
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [128, 256])
def test_outside_the_mask_the_picture_is_the_same_or_in_shadow(
    kind: str, size: int, landmarks: np.ndarray
) -> None:
    picture = portrait(size, landmarks)
    for seed in range(12):
        painted, mask = add_occluder(picture, landmarks, np.random.default_rng(seed), kind)
        assert painted.shape == picture.shape and painted.dtype == np.uint8
        assert mask.shape == (size, size) and mask.dtype == np.float32
        assert mask.min() >= 0 and mask.max() <= 1 + 1e-6
        clear = mask == 0
        assert (painted[clear] <= picture[clear]).all()
        # A shadow keeps the colours' order of brightness: at most the strength of a shadow is lost.
        assert (painted[clear] >= 0.3 * picture[clear] - 1).all()


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("blob", "hand", "hair")])
def test_where_the_mask_is_one_nothing_of_the_picture_is_left(
    kind: str, landmarks: np.ndarray
) -> None:
    # A second picture that differs everywhere but in the brightness of its skin: the colour of
    # these occluders hangs on nothing else.
    picture = portrait(256, landmarks)
    other = picture.copy()
    other[::2, 1::2] = 255 - other[::2, 1::2]
    nose, sides = landmarks[1], landmarks[[93, 132, 323, 361]]
    for spot in [landmarks[6], *(nose + t * (s - nose) for s in sides for t in (0.45, 0.6))]:
        x, y = np.rint(spot).astype(int)
        other[y - 2 : y + 3, x - 2 : x + 3] = picture[y - 2 : y + 3, x - 2 : x + 3]
    covered = 0
    for seed in range(8):
        one, mask = add_occluder(picture, landmarks, np.random.default_rng(seed), kind)
        two, again = add_occluder(other, landmarks, np.random.default_rng(seed), kind)
        np.testing.assert_array_equal(mask, again)
        np.testing.assert_array_equal(one[mask == 1], two[mask == 1])
        covered += int((mask == 1).sum())
    if kind != "sunglasses":  # their frames may be blurred to less than one everywhere
        assert covered > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_says_how_much_of_a_pixel_is_the_occluder(
    kind: str, landmarks: np.ndarray
) -> None:
    """Painted over black and over white, a pixel differs by what of the picture shines through."""
    white = np.full((256, 256, 3), 255, np.uint8)
    skin = np.zeros((256, 256), bool)
    nose, sides = landmarks[1], landmarks[[93, 132, 323, 361]]
    for spot in [landmarks[6], *(nose + t * (s - nose) for s in sides for t in (0.45, 0.6))]:
        x, y = np.rint(spot).astype(int)
        skin[y - 2 : y + 3, x - 2 : x + 3] = True
    black = np.where(skin[..., None], white, 0).astype(np.uint8)
    if kind in ("blob", "hair"):
        pytest.skip("takes its colour from the whole picture")
    for seed in range(6):
        bright, mask = add_occluder(white, landmarks, np.random.default_rng(seed), kind)
        dark, _ = add_occluder(black, landmarks, np.random.default_rng(seed), kind)
        through = (bright.astype(float) - dark).max(axis=2)[~skin] / 255
        # A shadow takes light from what shines through, never adds any.
        assert (through <= 1 - mask[~skin] + 0.012).all()
        assert (through >= 0.3 * (1 - mask[~skin]) - 0.012).all()


def test_every_kind_covers_part_of_the_face_and_not_all_of_it(landmarks: np.ndarray) -> None:
    picture = portrait(256, landmarks)
    face = np.zeros((256, 256), np.uint8)
    cv2.fillPoly(face, [np.rint(landmarks[list(mesh.FACE_OVAL)]).astype(np.int32)], 1)
    for kind in KINDS:
        shares = [
            add_occluder(picture, landmarks, np.random.default_rng(s), kind)[1][face > 0].mean()
            for s in range(20)
        ]
        assert 0.001 < np.median(shares) < 0.6, kind
        assert max(shares) < 0.9, kind


def test_glasses_lie_around_the_eyes_and_microphones_below_them(landmarks: np.ndarray) -> None:
    picture = portrait(256, landmarks)
    rows = np.arange(256)

    def height(kind: str) -> float:
        masks = [
            add_occluder(picture, landmarks, np.random.default_rng(s), kind)[1] for s in range(10)
        ]
        return float((np.mean(masks, axis=0).sum(axis=1) * rows).sum() / np.mean(masks, 0).sum())

    eyes, mouth = 106.0, 178.0
    assert abs(height("sunglasses") - eyes) < 15
    assert height("microphone") > mouth


def test_small_and_large_pictures_get_the_same_occluder(landmarks: np.ndarray) -> None:
    for kind in ("microphone", "sunglasses", "face mask"):
        _, large = add_occluder(portrait(256, landmarks), landmarks, np.random.default_rng(3), kind)
        _, small = add_occluder(portrait(128, landmarks), landmarks, np.random.default_rng(3), kind)
        halved = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
        overlap = np.minimum(halved, small).sum() / np.maximum(halved, small).sum()
        assert overlap > 0.8, kind


def test_one_seed_gives_one_picture_and_the_given_one_stays(landmarks: np.ndarray) -> None:
    picture = portrait(256, landmarks)
    before = picture.copy()
    one, mask = add_occluder(picture, landmarks, np.random.default_rng(7))
    two, again = add_occluder(picture, landmarks, np.random.default_rng(7))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(mask, again)
    np.testing.assert_array_equal(picture, before)


def test_a_hand_has_the_colour_of_the_face(landmarks: np.ndarray) -> None:
    for colour in ((90, 60, 45), (225, 180, 160)):
        picture = np.full((256, 256, 3), colour, np.uint8)
        found = []
        for seed in range(10):
            painted, mask = add_occluder(picture, landmarks, np.random.default_rng(seed), "hand")
            found.append(np.median(painted[mask > 0.9], axis=0))
        np.testing.assert_allclose(np.median(found, axis=0), colour, rtol=0.25)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("shift", "beside"),
    [
        ((120, 0), np.s_[:, :150]),
        ((-120, -110), np.s_[:, 110:]),
        ((0, 140), np.s_[:150, :]),
    ],
)
def test_a_face_partly_beyond_the_border_gets_the_part_of_an_occluder_that_is_inside(
    kind: str, shift: tuple[int, int], beside: tuple[slice, slice], landmarks: np.ndarray
) -> None:
    picture = portrait(256, landmarks)
    for seed in range(4):
        painted, mask = add_occluder(
            picture, landmarks + np.float32(shift), np.random.default_rng(seed), kind
        )
        assert painted.shape == picture.shape and painted.dtype == np.uint8
        assert mask.shape == (256, 256) and mask.min() >= 0 and mask.max() <= 1 + 1e-6
        assert (painted[mask == 0] <= picture[mask == 0]).all()  # the same, or in shadow
        if kind in ("glasses", "sunglasses", "face mask"):  # others reach beyond the face
            assert mask.max() > 0.5 and mask[beside].max() == 0


def test_the_chances_of_the_kinds_add_up_to_one() -> None:
    assert len(CHANCES) == len(DRAWINGS)
    assert sum(CHANCES) == pytest.approx(1.0)


def test_no_chance_no_change(landmarks: np.ndarray) -> None:
    picture = portrait(128, landmarks)
    np.testing.assert_array_equal(degrade(picture, np.random.default_rng(0), UNTOUCHED), picture)


def test_degrading_is_drawn_as_often_as_its_chance_says(landmarks: np.ndarray) -> None:
    picture = portrait(128, landmarks)
    config = DegradationConfig(gamma=0, temperature=0, scaling=0.3, blur=0, noise=0, jpeg=0)
    random = np.random.default_rng(0)
    changed = sum((degrade(picture, random, config) != picture).any() for _ in range(400))
    assert 90 <= changed <= 150  # 120 expected, standard deviation 9


@pytest.mark.parametrize("flaw", ["scaling", "blur", "jpeg"])
def test_detail_is_lost(flaw: str, landmarks: np.ndarray) -> None:
    picture = portrait(128, landmarks)
    config = DegradationConfig(
        **{"gamma": 0, "temperature": 0, "scaling": 0, "blur": 0, "noise": 0, "jpeg": 0, flaw: 1}
    )

    def detail(rgb: np.ndarray) -> float:
        return float(cv2.Laplacian(rgb, cv2.CV_32F).std())

    random = np.random.default_rng(0)
    losses = [detail(degrade(picture, random, config)) / detail(picture) for _ in range(10)]
    assert np.median(losses) < 0.9
    assert max(losses) < 1.05


def test_noise_has_the_stated_level() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    config = DegradationConfig(
        gamma=0, temperature=0, scaling=0, blur=0, noise=1, noise_level=(8, 8), jpeg=0
    )
    noisy = degrade(grey, np.random.default_rng(0), config).astype(float)
    assert noisy.mean(axis=2).std() == pytest.approx(8.0, rel=0.15)


def test_warmer_light_is_redder_and_less_blue() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    config = DegradationConfig(gamma=0, temperature=1, scaling=0, blur=0, noise=0, jpeg=0)
    gains = []
    for seed in range(5):
        red, green, blue = degrade(grey, np.random.default_rng(seed), config)[0, 0].astype(int)
        assert green == 128
        assert (red - 128) == pytest.approx(128 - blue, abs=1)
        assert abs(red - 128) <= 128 * config.temperature_shift + 1
        gains.append(red - 128)
    assert min(gains) < -2 and max(gains) > 2  # colder and warmer
