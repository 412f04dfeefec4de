"""Nets that a user brings as ONNX files: a face net to judge identity, a head pose net.

They run in onnxruntime where it is installed, else in OpenCV's own reader.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.errors import MissingWeightsError
from vidswap.faces.pose import HeadPose

POSE_SIDE = 224  # pixels
POSE_BOX = 1.5  # side of the pose net's square, in sides of the box around the mesh
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_BINS, _DEGREES_A_BIN, _FIRST_BIN = 66, 3.0, -99.0  # HopeNet's

Array = NDArray[np.float32]


class OnnxNet:
    """An ONNX net of one input (1, 3, S, S) float32.

    `input_side` is S, None where the file leaves it open. Raises MissingWeightsError where the
    file is absent or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MissingWeightsError(f"{path}: no such file; give a net as an ONNX file")
        self.name = path.stem
        try:
            self.input_side = _input_side(path.read_bytes())
            self._run = _in_onnxruntime(path) if _has_onnxruntime() else _in_opencv(path)
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise MissingWeightsError(
                f"{path}: not an ONNX net that can be run ({reason[-1] if reason else error!r})"
            ) from error
        self._path = path

    def __call__(self, picture: Array) -> list[Array]:
        """The outputs for one picture (1, 3, S, S). Raises MissingWeightsError if it cannot run."""
        try:
            outputs: list[Array] = self._run(np.ascontiguousarray(picture, np.float32))
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise MissingWeightsError(
                f"{self._path} does not take a picture of {picture.shape[-1]} pixels "
                f"({reason[-1] if reason else error!r}); give a net with one input (1, 3, S, S)"
            ) from error
        return outputs


class PoseNet:
    """Head pose from an upright square picture of the head.

    The net's input is (1, 3, 224, 224), normalised as for ImageNet; its outputs are HopeNet's
    three rows of 66 bins (yaw, pitch, roll), or one row of these three angles in degrees.
    """

    def __init__(self, path: Path) -> None:
        self._net = OnnxNet(path)
        self.name = f"{path.stem} (no part in training)"

    def __call__(self, square: NDArray[np.uint8]) -> HeadPose:
        """The angles for a square (S, S, 3) uint8 RGB. Raises MissingWeightsError."""
        picture = cv2.resize(square, (POSE_SIDE, POSE_SIDE), interpolation=cv2.INTER_AREA)
        normal = (picture.astype(np.float32) / 255.0 - _IMAGENET_MEAN) / _IMAGENET_DEVIATION
        return pose_of_outputs(self._net(normal.transpose(2, 0, 1)[None]))


def pose_of_outputs(outputs: list[Array]) -> HeadPose:
    """Angles of a pose net's outputs: HopeNet's bins, 3 (sum_i i softmax(x)_i) - 99, or degrees."""
    rows = [np.asarray(row, np.float64).reshape(-1) for row in outputs]
    if len(rows) >= 3 and all(len(row) == _BINS for row in rows[:3]):
        angles = [_expected_bin(row) * _DEGREES_A_BIN + _FIRST_BIN for row in rows[:3]]
    elif len(rows) == 1 and len(rows[0]) == 3:
        angles = rows[0].tolist()
    else:
        raise MissingWeightsError(
            f"the pose net gives {[row.shape for row in rows]}; allowed: three rows of {_BINS} "
            "bins, or one of three angles"
        )
    return HeadPose(*angles)


def _expected_bin(logits: NDArray[np.float64]) -> float:
    weights = np.exp(logits - logits.max())
    return float((weights * np.arange(_BINS)).sum() / weights.sum())


def _has_onnxruntime() -> bool:
    return importlib.util.find_spec("onnxruntime") is not None


def _in_onnxruntime(path: Path) -> Any:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda picture: session.run(None, {name: picture})


def _in_opencv(path: Path) -> Any:
    net: Any = cv2.dnn.readNetFromONNX(str(path))
    names = net.getUnconnectedOutLayersNames()

    def run(picture: Array) -> list[Array]:
        net.setInput(picture)
        return [np.asarray(output, np.float32) for output in net.forward(names)]

    return run


def _input_side(content: bytes) -> int | None:
    """Width of the input that is no weight: ModelProto.graph.input.type.tensor_type.shape."""
    graph = next(_fields(content, 7), b"")
    weights = {next(_fields(tensor, 8), b"") for tensor in _fields(graph, 5)}
    for given in _fields(graph, 11):
        if next(_fields(given, 1), b"") in weights:
            continue
        shape = given
        for number in (2, 1, 2):  # type, tensor_type, shape
            shape = next(_fields(shape, number), b"")
        sides = [next(_fields(dimension, 1), None) for dimension in _fields(shape, 1)]
        side = sides[-1] if len(sides) == 4 else None
        return int.from_bytes(side, "little") or None if side else None
    return None


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """The values of one field of a protocol buffer; numbers as little-endian bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(message, at)
            value = number.to_bytes(8, "little")
        elif kind == 2:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = message[at : at + size], at + size
        else:
            raise ValueError("not a protocol buffer")
        if key >> 3 == wanted:
            yield value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A variable-length number and the position after it."""
    number, shift = 0, 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
