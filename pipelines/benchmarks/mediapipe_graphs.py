"""mediapipe's own nets as three small graphs, to compare ours with.

`pip install mediapipe==0.10.9` on Python 3.11; vidswap itself does not need it.

mediapipe's own `FaceMesh` hides a second detector and the landmarks of the frame before. These
graphs take a picture that was cut out to the net's input size and keep nothing between two calls.
One thread runs them: the one that calls.
"""

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidswap.errors import MissingLibraryError
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.faces.nets.boxes import ScoredBox
from vidswap.runtime.interrupts import interrupts_put_off

MESH_SIZE = 192  # pixels, side of the landmark net's input

_DETECTOR_GRAPH = """
    input_stream: "image"
    output_stream: "detections"
    executor {{ name: "" type: "ApplicationThreadExecutor" }}
    node {{
      calculator: "FaceDetection{kind}Cpu"
      input_stream: "IMAGE:image"
      output_stream: "DETECTIONS:detections"
    }}
"""

# The points leave as plain floats: as protocol buffers they would take longer than the net itself.
_MESH_GRAPH = f"""
    input_stream: "image"
    output_stream: "points"
    output_stream: "presence"
    executor {{ name: "" type: "ApplicationThreadExecutor" }}
    node {{
      calculator: "TfLiteCustomOpResolverCalculator"
      output_side_packet: "OP_RESOLVER:resolver"
    }}
    node {{
      calculator: "ImageToTensorCalculator"
      input_stream: "IMAGE:image"
      output_stream: "TENSORS:input"
      options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
        output_tensor_width: {MESH_SIZE}
        output_tensor_height: {MESH_SIZE}
        output_tensor_float_range {{ min: 0 max: 1 }}
      }} }}
    }}
    node {{
      calculator: "InferenceCalculatorCpu"
      input_stream: "TENSORS:input"
      output_stream: "TENSORS:output"
      input_side_packet: "OP_RESOLVER:resolver"
      options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
        model_path: "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite"
        delegate {{ xnnpack {{ num_threads: 1 }} }}
      }} }}
    }}
    node {{
      calculator: "SplitTensorVectorCalculator"
      input_stream: "output"
      output_stream: "mesh_tensors"
      output_stream: "presence_tensor"
      options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{
        ranges {{ begin: 0 end: 6 }}
        ranges {{ begin: 6 end: 7 }}
      }} }}
    }}
    node {{
      calculator: "TensorsToFloatsCalculator"
      input_stream: "TENSORS:presence_tensor"
      output_stream: "FLOAT:presence"
      options {{ [mediapipe.TensorsToFloatsCalculatorOptions.ext] {{ activation: SIGMOID }} }}
    }}
    node {{
      calculator: "TensorsToFaceLandmarksWithAttention"
      input_stream: "TENSORS:mesh_tensors"
      output_stream: "LANDMARKS:landmarks"
    }}
    node {{
      calculator: "ImagePropertiesCalculator"
      input_stream: "IMAGE:image"
      output_stream: "SIZE:size"
    }}
    node {{
      calculator: "LandmarksToTensorCalculator"
      input_stream: "NORM_LANDMARKS:landmarks"
      input_stream: "IMAGE_SIZE:size"
      output_stream: "TENSORS:points_tensor"
      options {{ [mediapipe.LandmarksToTensorCalculatorOptions.ext] {{
        attributes: X attributes: Y attributes: Z
      }} }}
    }}
    node {{
      calculator: "TensorsToFloatsCalculator"
      input_stream: "TENSORS:points_tensor"
      output_stream: "FLOATS:points"
    }}
"""


class MediapipeDetector(BlazeFaceDetector):
    """`BlazeFaceDetector` with mediapipe's nets."""

    def __init__(self, min_score: float = 0.6) -> None:
        self._full_range = _Boxes("FullRange", 192, min_score)  # type: ignore[assignment]
        self._short_range = _Boxes("ShortRange", 128, min_score)  # type: ignore[assignment]

    def close(self) -> None:
        self._full_range.close()
        self._short_range.close()


class MediapipeFinder(AttentionMeshFinder):
    """`AttentionMeshFinder` with mediapipe's net."""

    def __init__(self, min_presence: float = 0.5) -> None:
        self._min_presence = min_presence
        self._graph = start_mesh()
        self._net = self._answers

    def close(self) -> None:
        self._graph.close()

    def _answers(self, pictures: NDArray[np.uint8]) -> tuple[Any, Any]:
        """Landmarks (B, 478, 3) and the logits of mediapipe's presence."""
        answers = [self._graph.process(picture) for picture in pictures]
        points = np.array([answer.points for answer in answers], np.float32).reshape(-1, 478, 3)
        presence = np.array([answer.presence for answer in answers], np.float64)
        presence = np.clip(presence, 1e-12, 1 - 1e-12)
        return points, np.log(presence / (1 - presence))


class _Boxes:
    """`BoxNet` with mediapipe's net, decoding and suppression."""

    def __init__(self, kind: str, size: int, min_score: float) -> None:
        self.size = size
        self._graph = start_detector(kind, size, min_score)
        self.close = self._graph.close

    def find(self, pictures: NDArray[np.uint8]) -> list[list[ScoredBox]]:
        return [
            [_scored_box(found) for found in self._graph.process(picture).detections or []]
            for picture in pictures
        ]


def _scored_box(found: Any) -> ScoredBox:
    rect = found.location_data.relative_bounding_box
    corners = [[rect.xmin, rect.ymin], [rect.xmin + rect.width, rect.ymin + rect.height]]
    keypoints = [(point.x, point.y) for point in found.location_data.relative_keypoints]
    return ScoredBox(np.array(corners), np.array(keypoints), float(found.score[0]))


def start_detector(kind: str, size: int, min_score: float) -> Any:
    """BlazeFace, `kind` "FullRange" or "ShortRange", for pictures of its input size.

    `process(picture).detections` of what is returned has the faces scored `min_score` or better.
    """
    name = f"facedetection{kind.lower()}"
    option = f"{name}cpu__{name}__facedetection__TensorsToDetectionsCalculator.min_score_thresh"
    return _start(_DETECTOR_GRAPH.format(kind=kind), size, {option: min_score})


def start_mesh() -> Any:
    """The attention mesh for pictures (192, 192, 3).

    `process(picture)` of what is returned has `points`, 478 times x, y and z in pixels of the
    picture, and `presence`, the probability of a face.
    """
    return _start(_MESH_GRAPH, MESH_SIZE, {})


def _start(graph: str, size: int, options: dict[str, float]) -> Any:
    """Start a mediapipe graph (text format) whose input is `size` pixels, calculator options set.

    The first picture, a black one, makes it load its net, so that this is silenced as well.
    """
    solution_base, parse = _load_mediapipe()
    with _silenced_stderr(), interrupts_put_off():
        started = solution_base(graph_config=parse(graph), calculator_params=options)
        started.process(np.zeros((size, size, 3), np.uint8))
    return _Uninterrupted(started)


class _Uninterrupted:
    """A started graph. It calls back into Python from C++, through which no KeyboardInterrupt may
    pass: the process would be aborted.
    """

    def __init__(self, started: Any) -> None:
        self._started = started

    def process(self, picture: NDArray[np.uint8]) -> Any:
        with interrupts_put_off():
            return self._started.process(picture)

    def close(self) -> None:
        with interrupts_put_off():
            self._started.close()


def _load_mediapipe() -> tuple[Any, Any]:
    """mediapipe's graph runner and its text-format parser.

    Imported on first use: the import takes a second and reads its log level from the environment.
    """
    os.environ.update({"GLOG_minloglevel": "3", **os.environ})  # as the user has set it, or quiet
    # mediapipe's own call, of which its newer protobuf (Python 3.12) warns.
    warnings.filterwarnings("ignore", "SymbolDatabase.GetPrototype", UserWarning)
    try:
        from google.protobuf import text_format
        from mediapipe.calculators.core import split_vector_calculator_pb2  # noqa: F401
        from mediapipe.calculators.tensor import (
            image_to_tensor_calculator_pb2,  # noqa: F401
            inference_calculator_pb2,  # noqa: F401
            landmarks_to_tensor_calculator_pb2,  # noqa: F401
            tensors_to_detections_calculator_pb2,  # noqa: F401
            tensors_to_floats_calculator_pb2,  # noqa: F401
        )
        from mediapipe.framework import calculator_pb2
        from mediapipe.python.solution_base import SolutionBase
    except ImportError as error:
        raise MissingLibraryError(
            f"mediapipe cannot be imported ({error}); pip install mediapipe==0.10.9"
        ) from error

    def parse(text: str) -> Any:
        return text_format.Parse(text, calculator_pb2.CalculatorGraphConfig())

    return SolutionBase, parse


_stderr_lock = threading.Lock()


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: TensorFlow Lite greets there and has no switch for it."""
    with _stderr_lock:
        sys.stderr.flush()
        kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def person_mask(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """mediapipe's selfie segmentation of a picture shrunk to 256x256, in [0, 1]."""
    _load_mediapipe()
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    small = cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_AREA)
    with _silenced_stderr(), SelfieSegmentation(model_selection=0) as segmentation:
        return np.asarray(segmentation.process(small).segmentation_mask, np.float32)
