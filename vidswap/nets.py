"""Builds the nets of a job: detector, identity encoder and generator, on the chosen device."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numba
import torch

from vidswap.choices import DetectorName as DetectorName
from vidswap.choices import DeviceName as DeviceName
from vidswap.choices import PrecisionName as PrecisionName
from vidswap.faces.detection import FaceDetector, LandmarkFinder
from vidswap.faces.searching import SearchingDetector
from vidswap.identity.encoder import IdentityEncoder
from vidswap.models.checkpoint import LoadedGenerator, load_generator
from vidswap.runtime.devices import check_computes_in, device_of, offered
from vidswap.runtime.processor import cpu_computes_bf16

logger = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Nets:
    """What a job runs; `close` frees the detector's native graphs."""

    detector: FaceDetector
    landmark_finder: LandmarkFinder
    encoder: IdentityEncoder
    generator: LoadedGenerator
    device: torch.device
    dtype: torch.dtype

    def close(self) -> None:
        self.detector.close()
        self.landmark_finder.close()


def load_nets(
    checkpoint: Path | None = None,
    detector: DetectorName = "blazeface",
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
) -> Nets:
    """Load every net of a swap. Raises BadOptionError, CheckpointError, MissingWeightsError."""
    torch_device = choose_device(device)
    dtype = choose_precision(precision, torch_device)
    generator = load_generator(checkpoint, torch_device, dtype).for_inference()
    logger.info(
        "generator %s (SHA-256 %s) on %s in %s",
        generator.path, generator.sha256[:12], torch_device, str(dtype).removeprefix("torch."),
    )  # fmt: skip
    found, finder = load_detector(detector, torch_device)
    logger.info("face detector %s", detector)
    return Nets(found, finder, IdentityEncoder().to(torch_device), generator, torch_device, dtype)


def load_detector(
    name: DetectorName, device: torch.device | None = None
) -> tuple[FaceDetector, LandmarkFinder]:
    """A detector and its landmark finder by name; `blazeface` runs on `device`, else the CPU."""
    if name == "face-alignment":
        from vidswap.faces.face_alignment_detector import load_face_alignment

        found, finder = load_face_alignment()
        return SearchingDetector(found), finder
    from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector

    device = device or torch.device("cpu")
    return SearchingDetector(BlazeFaceDetector(device=device)), AttentionMeshFinder(device=device)


def choose_device(name: DeviceName) -> torch.device:
    """The torch device; `auto` is CUDA where there is one, else the CPU.

    Raises BadOptionError where torch does not offer it.
    """
    if name == "auto":
        name = "cuda" if "cuda" in offered() else "cpu"
    return device_of(name)


def choose_precision(name: PrecisionName, device: torch.device) -> torch.dtype:
    """The generator's number format; `auto` is fp16 on GPUs, bf16 on CPUs that compute in it.

    Raises BadOptionError for a format that the device lacks.
    """
    if name != "auto":
        check_computes_in(_DTYPES[name], device)
        return _DTYPES[name]
    if device.type != "cpu":  # all have it, at the rate of bf16, and it rounds to 3 more bits
        return torch.float16
    return torch.bfloat16 if cpu_computes_bf16() else torch.float32


@contextmanager
def cores(most: int) -> Iterator[None]:
    """Torch's and numba's work in this thread on at most so many cores."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(min(most, before[0]))
    numba.set_num_threads(min(most, before[1]))
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def one_core() -> AbstractContextManager[None]:
    """Torch's work in this thread on one core: a small net beside other work waits less alone."""
    return cores(1)


def half_the_cores() -> AbstractContextManager[None]:
    """The generator's share: the other stages work at the same time, and threads that wait for
    each other cost more than they bring. On two cores a face took 47 ms of them in two threads,
    and 37 in one.
    """
    return cores(max(1, torch.get_num_threads() // 2))
