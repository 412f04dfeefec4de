"""mediapipe's nets as three small graphs, started without a word on the terminal.

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

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import MissingLibraryError
from vidswap.faces.system_libraries import check_system_libraries
from vidswap.runtime.interrupts import interrupts_put_off
from vidswap.runtime.process import quiet_native_logs

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


def start_solution(path: str, outputs: list[str], size: int) -> Any:
    """A whole graph of the mediapipe wheel by its path in it; `process` gives its `outputs`."""
    solution_base, _ = _load_mediapipe()
    with _silenced_stderr(), interrupts_put_off():
        started = solution_base(binary_graph_path=path, outputs=outputs)
        started.process(np.zeros((size, size, 3), np.uint8))
    return _Uninterrupted(started)


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
    check_system_libraries()
    quiet_native_logs()
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
            f"mediapipe cannot be imported ({error}); `vidswap doctor` suggests a fix"
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
