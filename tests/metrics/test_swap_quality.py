import math

import numpy as np
import pytest

from vidswap.faces.detection import Face
from vidswap.faces.pose import canonical_mesh
from vidswap.metrics.flow import FlowQuality
from vidswap.metrics.swap_quality import FrameEmbeddings, SwapFrame, measure_frame, summarise

GREY = np.full((64, 64, 3), 128, np.uint8)
FLOW = FlowQuality(0.01, 0.02, 0.03, 0.04, 0.5)


def face_with_mouth(gap: float = 0.0) -> Face:
    """The canonical mesh at 100 pixels a unit, the lower inner lip moved down by `gap` pixels."""
    points = canonical_mesh()[:, :2].astype(np.float64) * 100 + 200
    points[[87, 14, 317]] += [0, gap]
    return Face(points.astype(np.float32), None, 1.0)


def embeddings(swapped: np.ndarray) -> FrameEmbeddings:
    source, target = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    return FrameEmbeddings(source, target, target, swapped)


def frame(
    before: float = 0.0, after: float = 0.0, swapped: tuple[float, ...] = (0.9, 0.1, 0.0)
) -> SwapFrame:
    faces = face_with_mouth(before), face_with_mouth(after)
    return measure_frame(*faces, (GREY, GREY), embeddings(np.array(swapped)))


def test_the_share_nearer_to_the_source_counts_frames() -> None:
    quality = summarise([frame()] * 3 + [frame(swapped=(0.1, 0.9, 0.0))], FLOW)
    assert quality.nearer_to_source == quality.nearer_than_frame == 0.75
    assert quality.frames == 4 and quality.pose_degrees == 0 and quality.expression_percent == 0
    assert quality.ssim == pytest.approx(1.0)


def test_a_mouth_that_follows_correlates_and_one_that_does_not_has_no_correlation() -> None:
    gaps = [0, 5, 2, 9, 4]
    follows = summarise([frame(gap, 0.5 * gap) for gap in gaps], FLOW)
    assert follows.mouth_correlation == pytest.approx(1.0, abs=0.01)
    assert follows.mouth_deviation > 0.01 and follows.eye_deviation == pytest.approx(0, abs=1e-6)
    assert math.isnan(follows.eye_correlation)
    still = summarise([frame(gap, 0) for gap in gaps], FLOW)
    assert math.isnan(still.mouth_correlation)


def test_lost_faces_are_a_share_of_all_that_were_looked_for() -> None:
    assert summarise([frame()] * 3, FLOW, n_lost=1).face_lost == 0.25
    assert summarise([frame()] * 3, FLOW).face_lost == 0


def test_the_flow_is_the_sum_of_both_terms_and_their_ratio() -> None:
    quality = summarise([frame()], FLOW)
    assert quality.flow_warp_target == pytest.approx(0.04)
    assert quality.flow_warp_swap == pytest.approx(0.06)
    assert quality.flow_warp_ratio == pytest.approx(1.5)
    assert quality.endpoint_error == 0.5


def test_no_frames_is_an_error_not_a_zero() -> None:
    with pytest.raises(ValueError, match="no frame"):
        summarise([], FLOW)
