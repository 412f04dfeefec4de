"""The judge: the face net that decides whose face it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.digest import file_sha256
from vidswap.errors import CheckpointError, MissingWeightsError
from vidswap.identity.encoder import IdentityEncoder
from vidswap.identity.recogniser import Recogniser, RecogniserConfig
from vidswap.inpainting.inpainter import read_inpainter
from vidswap.models.checkpoint_file import default_checkpoint, read_checkpoint
from vidswap.people.embedding import crops_to_tensor
from vidswap.training.graph_readers import GraphNet, read_tfjs
from vidswap.training.id_targets import arcface_crop

Crops = Sequence[NDArray[np.uint8]]

BATCH = 8
GRAPH_INPUT = 224  # pixels, side of a graph judge's ArcFace crop
GRAPH_OUTPUT = "global_pooling/Mean"
GRAPH_MEN = "gender_pred/Sigmoid"  # some have it
RECOGNISER_SUFFIX = ".safetensors"
PACKAGED_RECOGNISER = "judge-64.safetensors"


@dataclass(frozen=True)
class Judge:
    """A face net whose embeddings are compared by cosine."""

    name: str
    sha256: str  # of its files; empty for the net that comes with the package
    in_training: bool  # whether the generator was trained with it
    embed_tensor: Callable[[Tensor], Tensor]
    men_tensor: Callable[[Tensor], Tensor] | None = None  # where the net tells that as well

    def embed(self, crops: Crops) -> NDArray[np.float32]:
        """Embeddings (N, D) of N aligned crops (256, 256, 3) uint8 RGB."""
        return _of_batches(self.embed_tensor, crops)

    def men(self, crops: Crops) -> NDArray[np.float32] | None:
        """How surely it takes each of N crops for a man's, (N,) in 0 to 1; None if it cannot."""
        return None if self.men_tensor is None else _of_batches(self.men_tensor, crops).ravel()

    def __call__(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The embedding (D,) of one aligned crop."""
        embedding: NDArray[np.float32] = self.embed([crop])[0]
        return embedding

    @property
    def stated(self) -> str:
        """Its name, and whether it took part in training."""
        part = "took part in training" if self.in_training else "no part in training"
        return f"{self.name} ({part})"


def _of_batches(net: Callable[[Tensor], Tensor], crops: Crops) -> NDArray[np.float32]:
    with torch.inference_mode():
        rows = [
            net(crops_to_tensor(crops[start : start + BATCH]))
            for start in range(0, len(crops), BATCH)
        ]
    answers: NDArray[np.float32] = torch.cat(rows).float().cpu().numpy()
    return answers


def load_judge(path: Path | None) -> Judge:
    """The face net `path`; without one dlib's net, which took part in training.

    A `.safetensors` file is a recogniser of `vidswap train recogniser`; others are TensorFlow.js
    graphs, with a node `GRAPH_OUTPUT` as their embedding and the ArcFace crop, RGB in 0..255, as
    their input. Raises MissingWeightsError where the file is absent or is neither.
    """
    if path is None:
        dlib = IdentityEncoder()

        def dlib_embedding(crops: Tensor) -> Tensor:
            return dlib(crops).embedding  # type: ignore[no-any-return]

        return Judge("dlib ResNet", "", True, dlib_embedding)
    if path.suffix == RECOGNISER_SUFFIX:
        return _recogniser(path)
    try:
        net = read_tfjs(path, GRAPH_OUTPUT)
    except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise MissingWeightsError(
            f"{path}: not a TensorFlow.js face net with a node {GRAPH_OUTPUT} "
            f"({type(error).__name__}: {error}); give --judge the JSON next to its weights"
        ) from error

    try:
        men = read_tfjs(path, GRAPH_MEN)
    except (ValueError, KeyError, IndexError, TypeError):
        men = None

    def of_graph(graph: GraphNet) -> Callable[[Tensor], Tensor]:
        def answers(crops: Tensor) -> Tensor:
            answer: Tensor = graph((arcface_crop(crops, size=GRAPH_INPUT) + 1.0) * 127.5)
            return answer

        return answers

    return Judge(
        path.stem, _sha256(path), False, of_graph(net), None if men is None else of_graph(men)
    )


def second_judge(path: Path | None) -> Judge | None:
    """The face net `path`; without one the recogniser that comes with the package, if one does.

    Raises MissingWeightsError where the file is absent or is no face net.
    """
    if path is not None:
        return load_judge(path)
    packaged = default_checkpoint().with_name(PACKAGED_RECOGNISER)
    return _recogniser(packaged) if packaged.is_file() else None


def _recogniser(path: Path) -> Judge:
    """A recogniser that this project has trained. Raises MissingWeightsError."""
    try:
        net = read_inpainter(read_checkpoint(path), Recogniser, RecogniserConfig)
    except CheckpointError as error:
        raise MissingWeightsError(
            f"{error}; a judge is what `vidswap train recogniser` exports, or a TensorFlow.js net"
        ) from error
    net = net.eval().requires_grad_(False)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Judge(path.stem, file_sha256(path), False, net.embed)


def _sha256(path: Path) -> str:
    """Digest of a graph's JSON and of the weights that it names."""
    digest = hashlib.sha256(path.read_bytes())
    for group in json.loads(path.read_text())["weightsManifest"]:
        for weights in group["paths"]:
            digest.update((path.parent / weights).read_bytes())
    return digest.hexdigest()
