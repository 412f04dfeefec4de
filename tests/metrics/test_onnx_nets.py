"""Nets written as ONNX files byte by byte, so that what they give is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidswap.errors import MissingWeightsError
from vidswap.metrics.onnx_nets import OnnxNet, PoseNet, pose_of_outputs


def varint(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor_info(name: str, shape: tuple[int | str, ...]) -> bytes:
    """ValueInfoProto of a float tensor; a name stands for an open dimension."""
    dimensions = b"".join(field(1, field(1 if isinstance(d, int) else 2, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dimensions)))


def mean_net(path: Path, side: int | str = 32) -> Path:
    """A net whose output (1, 3) is the mean of each channel."""
    pool = field(1, "x") + field(2, "pooled") + field(4, "GlobalAveragePool")
    flatten = field(1, "pooled") + field(2, "y") + field(4, "Flatten")
    graph = field(1, pool) + field(1, flatten) + field(2, "means")
    graph += field(11, tensor_info("x", (1, 3, side, side))) + field(12, tensor_info("y", (1, 3)))
    opset = field(1, "") + field(2, 13)
    path.write_bytes(field(1, 7) + field(7, graph) + field(8, opset))
    return path


def test_a_net_gives_what_it_was_written_to_give(tmp_path: Path) -> None:
    net = OnnxNet(mean_net(tmp_path / "means.onnx"))
    picture = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    (output,) = net(picture)
    assert output.reshape(-1) == pytest.approx(picture.mean(axis=(0, 2, 3)), abs=1e-5)


def test_the_size_of_the_input_is_read_from_the_file(tmp_path: Path) -> None:
    assert OnnxNet(mean_net(tmp_path / "a.onnx", 112)).input_side == 112
    assert OnnxNet(mean_net(tmp_path / "b.onnx", 224)).input_side == 224
    assert OnnxNet(mean_net(tmp_path / "c.onnx", "width")).input_side is None


def test_what_is_no_net_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no net at all, but some words")
    with pytest.raises(MissingWeightsError, match="not an ONNX net"):
        OnnxNet(tmp_path / "text.onnx")
    with pytest.raises(MissingWeightsError, match="no such file"):
        OnnxNet(tmp_path / "none.onnx")


def test_hopenets_bins_are_three_degrees_from_minus_99() -> None:
    def peak(degrees: float) -> np.ndarray:
        bins = np.full((1, 66), -40.0, np.float32)
        bins[0, round((degrees + 99) / 3)] = 40.0
        return bins

    pose = pose_of_outputs([peak(12), peak(-30), peak(0)])
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((12, -30, 0), abs=1e-6)
    # Two bins alike: half way between them.
    halves = peak(12)
    halves[0, round((15 + 99) / 3)] = 40.0
    assert pose_of_outputs([halves, peak(0), peak(0)]).yaw == pytest.approx(13.5)


def test_a_net_of_three_numbers_gives_angles_and_any_other_is_refused(tmp_path: Path) -> None:
    grey = np.full((50, 50, 3), 255, np.uint8)
    pose = PoseNet(mean_net(tmp_path / "pose.onnx", 224))(grey)
    # White, normalised as for ImageNet.
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((2.249, 2.429, 2.64), abs=1e-3)
    with pytest.raises(MissingWeightsError, match="pose net gives"):
        pose_of_outputs([np.zeros((1, 128), np.float32)])
