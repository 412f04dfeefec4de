from dataclasses import replace

import numpy as np
import pytest
import torch

from vidswap.faces import mesh
from vidswap.training.data.face_shards import FaceRecord
from vidswap.training.keep import keep_map
from vidswap.training.loop import prefetched
from vidswap.training.pair_batch import PairConfig
from vidswap.training.pair_draws import eye_openings, mirrored_mesh
from vidswap.training.pairs import PairSampler

MESH_INDEX = np.array(
    sorted(
        {*mesh.RIGHT_EYE, *mesh.LEFT_EYE, *mesh.OUTER_LIPS, *mesh.INNER_LIPS, *mesh.NOSE_BRIDGE}
        | {*mesh.FACE_OVAL, *mesh.RIGHT_IRIS, *mesh.LEFT_IRIS}
    )
)


def ring(indices: tuple[int, ...], centre: tuple[float, float], rx: float, ry: float) -> dict:
    angles = np.linspace(0, 2 * np.pi, len(indices), endpoint=False)
    return {
        i: (centre[0] + rx * np.cos(a), centre[1] + ry * np.sin(a))
        for i, a in zip(indices, angles, strict=True)
    }


def schematic_points() -> np.ndarray:
    """Landmarks (478, 2) of a schematic face, symmetric about x = 127.5."""
    points = np.zeros((478, 2))
    shapes = ring(mesh.FACE_OVAL, (127.5, 130), 60, 80)
    # Lips are listed from the right corner on by the lower one, eyes by the upper lid.
    shapes |= ring(mesh.OUTER_LIPS, (127.5, 178), -26, 12) | ring(
        mesh.INNER_LIPS, (127.5, 178), -18, 6
    )
    shapes |= ring(mesh.RIGHT_EYE, (97, 106), -14, -6)
    # The left eye is listed from its outer corner, as the right eye is: mirror it.
    shapes |= {
        left: (255 - shapes[right][0], shapes[right][1])
        for left, right in zip(mesh.LEFT_EYE, mesh.RIGHT_EYE, strict=True)
    }
    shapes |= {i: (127.5, 100.0 + 6 * n) for n, i in enumerate(mesh.NOSE_BRIDGE)}
    for iris, x in ((mesh.RIGHT_IRIS, 97.0), (mesh.LEFT_IRIS, 158.0)):
        shapes |= {iris[0]: (x, 106.0)} | ring(iris[1:], (x, 106), 5, 5)
    for index, point in shapes.items():
        points[index] = point
    return points


@pytest.fixture
def sampler() -> PairSampler:
    n = 60
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (n, 128, 128, 3), np.uint8)
    landmarks = np.repeat(schematic_points()[MESH_INDEX][None], n, axis=0).astype(np.float16)
    records = [
        FaceRecord(f"{i}.webp", "a.zip", "synthetic", f"person{i // 3}" if i < 30 else "")
        for i in range(n)
    ]
    return PairSampler(faces, landmarks, MESH_INDEX, records, PairConfig(batch=8), seed=4)


def test_a_batch_is_what_the_networks_expect(sampler: PairSampler) -> None:
    batch = sampler.batch(0)
    assert batch.targets.shape == batch.boundary_maps.shape == (8, 3, 128, 128)
    assert batch.keep.shape == (8, 1, 128, 128)
    assert -1 <= float(batch.targets.min()) < -0.8 and 0.8 < float(batch.targets.max()) <= 1
    assert float(batch.boundary_maps.min()) >= 0 and 0.9 < float(batch.boundary_maps.max()) <= 1


def test_pairs_of_one_person_are_marked_and_the_first_are_the_same_picture(
    sampler: PairSampler,
) -> None:
    for number in range(10):
        batch = sampler.batch(number)
        assert (batch.n_same_picture, batch.n_swap_back, len(batch.warped)) == (1, 1, 2)
        assert batch.n_answered == 4
        n = 3
        assert batch.sources[:n].tolist() == batch.target_rows[:n].tolist()
        # The second of the warped pairs has another picture of the person as its source.
        assert batch.same_person.tolist() == [True] * 4 + [False] * 4
        source, target = int(batch.sources[n]), int(batch.target_rows[n])
        assert source // 3 == target // 3 and source != target


def test_a_warped_pair_shows_another_face_within_the_outline_and_the_picture_around_it(
    sampler: PairSampler,
) -> None:
    # Every picture is flat and of its own grey, so that the covering face is told by its grey.
    sampler.faces = np.repeat(
        np.arange(60, dtype=np.uint8)[:, None] * 4 + 10, 128 * 128 * 3, axis=1
    ).reshape(60, 128, 128, 3)
    sampler.config = PairConfig(batch=8, rotation=0.0, scale=0.0, shift=0.0, brightness=0.0)
    inside = []
    for number in range(4):
        batch = sampler.batch(number)
        for shown, answer in zip(batch.warped, batch.targets[2:4], strict=True):
            difference = (shown - answer).abs().amax(dim=0)
            inside.append(float(difference[70, 64]))
            assert float(difference[:8].max()) == float(difference[-8:].max()) == 0
    # A face that takes on all of the light it covers is no longer told from it.
    assert sum(value > 0 for value in inside) >= 6


PLAIN = PairConfig(
    batch=8, rotation=0.0, scale=0.0, shift=0.0, brightness=0.0, occluded=0.0, degraded=0.0
)


def test_an_answer_across_two_people_is_the_sources_face_on_the_targets_picture(
    sampler: PairSampler,
) -> None:
    # A target of grey, a source with red cheeks: red is in the answer, and only within the face.
    sampler.faces = np.full_like(sampler.faces, 120)
    sampler.faces[:, 60:80, 40:88, 1:] = np.where(np.arange(60) % 2, 60, 120)[:, None, None, None]
    sampler.config, sampler.album_of = replace(PLAIN, bare_sources=False), {}
    met = set()
    for number in range(8):
        batch = sampler.batch(number)
        n = batch.n_answered
        assert len(batch.answers) == 3
        assert not batch.same_person[n:].any()
        for source, target, given, answer in zip(
            batch.sources[n:], batch.target_rows[n:], batch.targets[n:], batch.answers, strict=False
        ):
            assert torch.equal(answer[:, :8], given[:, :8])
            redness = [float((p[0] - p[1])[66:72, 50:78].mean()) for p in (given, answer)]
            kinds = (int(source) % 2, int(target) % 2)
            met.add(kinds)
            if kinds == (1, 0):
                assert redness[1] > redness[0] + 0.02
            if kinds == (0, 1):
                assert redness[1] < redness[0] - 0.02
    assert {(1, 0), (0, 1)} <= met


def test_the_person_of_an_answer_is_known_from_another_picture_where_there_is_one(
    sampler: PairSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler.config = replace(PLAIN, bare_sources=False)
    faces, answer = [], sampler._answer
    monkeypatch.setattr(
        sampler,
        "_answer",
        lambda frame, target, face: (faces.append(face), answer(frame, target, face))[1],
    )
    sources = [int(row) for number in range(8) for row in sampler.batch(number).sources[4:7]]
    assert len(sources) == len(faces) == 24
    assert any(face < 30 for face in faces) and any(face >= 30 for face in faces)
    for face, source in zip(faces, sources, strict=True):
        if face < 30:  # of the people with three pictures
            assert source // 3 == face // 3 and source != face
        else:
            assert source == face


def test_an_answer_counts_less_than_the_truth_but_more_than_another_persons_face(
    sampler: PairSampler,
) -> None:
    sampler.config = replace(PLAIN, keep_face=0.1, keep_across=0.5, keep_features=0.1)
    batch = sampler.batch(0)
    n = batch.n_answered
    cheek = batch.keep[:, 0, 76, 60]
    assert cheek[:n].tolist() == [1.0] * n
    assert cheek[n:].tolist() == pytest.approx([0.5, 0.5, 0.5, 0.1], abs=0.02)


def test_half_of_the_warped_pairs_know_the_person_from_another_picture(
    sampler: PairSampler,
) -> None:
    for number in range(10):
        batch = sampler.batch(number)
        assert int(batch.sources[2]) == int(batch.target_rows[2])
        assert int(batch.sources[3]) != int(batch.target_rows[3])
        assert int(batch.sources[3]) // 3 == int(batch.target_rows[3]) // 3


def test_glasses_are_never_a_sources_nor_beneath_a_warped_face(sampler: PairSampler) -> None:
    sampler.visibility = np.full((60, 128, 128), 255, np.uint8)
    sampler.visibility[::2, 45:55] = 0  # something lies before the eyes of every other face
    for number in range(10):
        batch = sampler.batch(number)
        assert all(row % 2 for row in batch.sources[4:])
        assert all(row % 2 for row in batch.swap_back_sources)
        assert all(row % 2 for row in batch.target_rows[2:4])
    sampler.config = PairConfig(batch=8, bare_sources=False)
    drawn = torch.cat([sampler.batch(number).sources[4:] for number in range(10)])
    assert not all(row % 2 for row in drawn)


def test_shut_eyes_are_drawn_as_often_as_asked(sampler: PairSampler) -> None:
    shut = schematic_points()
    for contour, y in ((mesh.RIGHT_EYE, 106.0), (mesh.LEFT_EYE, 106.0)):
        shut[list(contour), 1] = y
    landmarks = sampler.landmarks.copy()
    landmarks[1::10] = shut[MESH_INDEX]
    openings = eye_openings(landmarks, MESH_INDEX)
    assert openings[1] == 0 and openings[0] == pytest.approx(12 / 28, abs=0.02)
    records = [FaceRecord(f"{i}.webp", "", "", "") for i in range(60)]
    for share, expected in ((1.0, 1.0), (0.0, 0.1)):
        config = PairConfig(batch=8, shut_eyes=share, warped=0.0, across=0.0)
        made = PairSampler(sampler.faces, landmarks, MESH_INDEX, records, config, seed=1)
        rows = np.concatenate([made.batch(n).target_rows for n in range(12)])
        assert np.mean(rows % 10 == 1) == pytest.approx(expected, abs=0.1)


def test_a_shut_eye_must_be_kept_as_an_open_one_must() -> None:
    points = schematic_points().astype(np.float32)
    points[list(mesh.RIGHT_EYE), 1] = 106.0
    keep = keep_map(points, False, PairConfig(keep_face=0.0, keep_features=1.0))
    lid = slice(50, 56), slice(44, 53)  # around (97, 106) at half the size
    assert keep[lid].min() == 1.0
    assert keep[72, 48] < 0.1


def test_held_out_people_are_never_drawn(sampler: PairSampler) -> None:
    drawn = set()
    for number in range(20):
        batch = sampler.batch(number)
        for rows in (batch.sources, batch.target_rows, batch.swap_back_sources):
            drawn |= set(rows.tolist())
    records = [
        FaceRecord(f"{i}.webp", "", "", f"person{i // 3}" if i < 30 else "") for i in range(60)
    ]
    assert any(r.held_out for r in records)
    assert not any(records[i].held_out for i in drawn)


def test_batches_drawn_ahead_by_threads_are_those_of_their_numbers(sampler: PairSampler) -> None:
    ahead = prefetched(sampler, first=3, stride=2)
    for number in (3, 5, 7):
        got, expected = next(ahead), sampler.batch(number)
        assert torch.equal(got.targets, expected.targets)
        assert torch.equal(got.keep, expected.keep) and torch.equal(got.sources, expected.sources)
    ahead.close()


def test_another_number_is_another_batch(sampler: PairSampler) -> None:
    assert not torch.equal(sampler.batch(0).target_rows, sampler.batch(1).target_rows)


def test_what_lies_before_the_face_must_be_kept(sampler: PairSampler) -> None:
    def kept(occluded: float) -> float:
        config = PairConfig(batch=8, occluded=occluded, degraded=0.0, across=0.0)
        sampler.config = config
        return float(torch.stack([sampler.batch(n).keep[-4:].mean() for n in range(6)]).mean())

    assert kept(1.0) > kept(0.0)


def test_targets_are_drawn_from_pictures_stored_large_as_often_as_asked(
    sampler: PairSampler,
) -> None:
    sides = np.where(np.arange(60) % 2, 256, 112)
    records = [FaceRecord(f"{i}.webp", "", "", "") for i in range(60)]
    config = PairConfig(batch=8, sharp_targets=1.0)
    large = PairSampler(
        sampler.faces, sampler.landmarks, MESH_INDEX, records, config, seed=1, sides=sides
    )
    assert all(row % 2 for number in range(5) for row in large.batch(number).target_rows)


def test_the_mirror_swaps_left_and_right_and_is_its_own_inverse() -> None:
    landmarks = np.repeat(schematic_points()[MESH_INDEX][None], 3, axis=0).astype(np.float16)
    mirror = mirrored_mesh(landmarks, MESH_INDEX)
    assert mirror[33] == 263 and mirror[263] == 33
    assert mirror[468] == 473 and mirror[mesh.NOSE_TIP] == mesh.NOSE_TIP
    np.testing.assert_array_equal(mirror[mirror[MESH_INDEX]], MESH_INDEX)


def test_keep_is_one_for_the_same_person_and_low_inside_anothers_face() -> None:
    points = schematic_points().astype(np.float32)
    config = PairConfig(keep_face=0.02, keep_features=0.15, keep_outside=1.0)
    assert keep_map(points, True, config).min() == 1
    keep = keep_map(points, False, config)
    nose, background, eye = keep[75, 64], keep[5, 5], keep[53, 48]
    assert nose == pytest.approx(0.02, abs=0.01)
    assert background == pytest.approx(1.0)
    assert eye == pytest.approx(0.15, abs=0.001)


def test_references_are_shown_as_often_as_asked_and_never_the_picture_itself(
    sampler: PairSampler,
) -> None:
    sampler.config = replace(PLAIN, bare_sources=False)
    assert not any(bool(sampler.batch(number).references.any()) for number in range(4))
    sampler.config = replace(PLAIN, bare_sources=False, referenced=1.0)
    sampler.album_of = {}
    for number in range(4):
        batch = sampler.batch(number)
        shown = [bool(view.any()) for view in batch.references]
        # The first two have their own picture as source; a warped one covers it.
        assert shown == [False, False] + [True] * 6
        assert batch.references.shape == (8, 4, 128, 128)
        colours, mask = batch.references[:, :3], batch.references[:, 3:]
        assert float(mask.min()) >= 0.0 and float(mask.max()) <= 1.0
        assert bool((colours.abs() <= mask + 1e-6).all())
