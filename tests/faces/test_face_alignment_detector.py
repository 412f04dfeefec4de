from __future__ import annotations

from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from tests.photographs import astronaut
from vidswap.errors import MissingWeightsError
from vidswap.faces import face_alignment_detector
from vidswap.faces.detection import Detection
from vidswap.faces.face_alignment_detector import (
    FaceAlignmentDetector,
    FaceAlignmentLandmarks,
    fetch_weights,
    load_face_alignment,
)
from vidswap.faces.points68 import MESH_OF_68

WEIGHTS = ("s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar")
BOX = Detection(np.array([170, 60, 280, 190], np.float32), np.zeros((2, 2), np.float32), 0.9)


class FakeNets:
    """Stands in for the package: fixed boxes and points, and a record of what it was shown."""

    def __init__(self, boxes=(), points=None, score=0.9):
        self.shown = []
        self.face_detector = SimpleNamespace(detect_from_image=self.detect_from_image)
        self.boxes, self.points, self.score = boxes, points, score

    def detect_from_image(self, rgb):
        self.shown.append(rgb.shape)
        return self.boxes

    def get_landmarks_from_image(self, rgb, detected_faces, return_landmark_score):
        self.shown.append(detected_faces[0])
        return [self.points], [np.full(68, self.score)], None


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty torch hub folder and no network."""
    # Imported first, so that it does not keep the patched functions.
    pytest.importorskip("face_alignment")

    def refuse(url, *args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "hub" / "checkpoints"


def test_missing_weights_are_named_in_one_line_with_their_folder(hub):
    with pytest.raises(MissingWeightsError) as raised:
        load_face_alignment()
    message = str(raised.value)
    assert all(name in message for name in WEIGHTS)
    assert str(hub) in message and "no route to host" in message and "\n" not in message


def test_only_the_missing_file_is_named(hub):
    hub.mkdir(parents=True)
    (hub / WEIGHTS[0]).write_bytes(b"")
    with pytest.raises(MissingWeightsError) as raised:
        load_face_alignment()
    assert WEIGHTS[1] in str(raised.value) and WEIGHTS[0] not in str(raised.value)


def test_weights_are_downloaded_into_the_folder_and_checked(hub, monkeypatch):
    calls = []
    monkeypatch.setattr(
        torch.hub,
        "download_url_to_file",
        lambda url, path, **options: calls.append((path, options)),
    )
    fetch_weights(["https://example.org/a/s3fd-619a316812.pth"])
    assert calls == [(str(hub / WEIGHTS[0]), {"hash_prefix": "619a316812"})]


@pytest.fixture
def untrained(hub):
    """The weights' files, with the real architectures but random numbers: shapes, not places."""
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    hub.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(s3fd().state_dict(), hub / WEIGHTS[0])
    torch.save(FAN(4).state_dict(), hub / WEIGHTS[1])


def test_the_real_nets_load_from_the_folder(untrained, hub):
    detector, finder = load_face_alignment()
    nets = (detector._nets.face_detector.face_detector, finder._nets.face_alignment_net)
    for net, name in zip(nets, WEIGHTS, strict=True):
        saved, loaded = torch.load(hub / name), net.state_dict()
        assert len(saved) > 10 and saved.keys() == loaded.keys()
        assert all(torch.equal(saved[key], loaded[key]) for key in saved)
    found = detector.detect(np.ascontiguousarray(astronaut()[:48, :48]))
    assert isinstance(found, list)
    detector.close()
    finder.close()


@pytest.mark.slow  # the package compiles its post-processing on first use
def test_the_real_fan_gives_a_whole_mesh(untrained, monkeypatch):
    monkeypatch.setattr(face_alignment_detector, "MIN_POINT_SCORE", -1.0)
    _, finder = load_face_alignment()
    face = finder.landmarks(astronaut(), BOX)
    assert face is not None
    assert face.landmarks.shape == (478, 2)
    assert np.isfinite(face.landmarks).all()


def test_large_frames_are_searched_small_and_boxes_given_in_their_own_pixels():
    nets = FakeNets(boxes=[np.array([99.5, 49.5, 199.5, 149.5, 0.8])])
    (detection,) = FaceAlignmentDetector(nets).detect(np.zeros((720, 1280, 3), np.uint8))
    assert nets.shown == [(360, 640, 3)]
    np.testing.assert_allclose(detection.box, [199.5, 99.5, 399.5, 299.5])
    right, left = detection.keypoints
    assert 199.5 < right[0] < left[0] < 399.5
    assert detection.score == pytest.approx(0.8)


def test_small_frames_are_searched_as_they_are_and_the_best_face_comes_first():
    boxes = [np.array([0, 0, 50, 60, 0.6]), np.array([100, 0, 150, 60, 0.95])]
    found = FaceAlignmentDetector(FakeNets(boxes)).detect(np.zeros((200, 300, 3), np.uint8))
    np.testing.assert_allclose([f.box[0] for f in found], [100, 0])


def test_the_mesh_hits_fans_points_and_follows_from_frame_to_frame(detector, finder):
    rgb = astronaut()
    points = finder.landmarks(rgb, detector.detect(rgb)[0]).landmarks[MESH_OF_68]
    nets = FakeNets(points=points)
    fan = FaceAlignmentLandmarks(nets)
    face = fan.landmarks(rgb, BOX)
    assert face is not None and face.score == pytest.approx(0.9)
    np.testing.assert_allclose(face.landmarks[MESH_OF_68], points, atol=0.01)
    assert fan.landmarks(rgb, face) is not None
    assert nets.shown[0] == BOX.box.tolist()
    assert nets.shown[1] == face.box.tolist()


def test_weak_points_mean_no_face():
    nets = FakeNets(points=np.zeros((68, 2)), score=0.05)
    assert FaceAlignmentLandmarks(nets).landmarks(astronaut(), BOX) is None
