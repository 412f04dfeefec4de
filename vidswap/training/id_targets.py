"""Id embeddings of every face of a dataset, computed once: training sources need no encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.identity.dlib_resnet import EMBEDDING_SIZE, POOLED_SIZE, STAGE_CHANNELS
from vidswap.identity.encoder import IdEmbedding, IdentityEncoder, crop_to_template
from vidswap.training.data.face_shards import FaceRecord, cached_array
from vidswap.training.graph_readers import GraphNet

ID_WIDTHS = (POOLED_SIZE, EMBEDDING_SIZE, *STAGE_CHANNELS)
MOBILEFACENET_WIDTH = 192
SAME_PICTURE = 0.3  # dlib distance; two pictures of one person are most often farther apart
_BATCH = 32


class MobileFaceNet(nn.Module):
    """The second training encoder: aligned crops (B, 3, S, S) in [-1, 1] to 192-d, by cosine."""

    def __init__(self, graph: GraphNet) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, crops: Tensor, jitter: Tensor | None = None) -> Tensor:
        return self.embed_faces(arcface_crop(crops, jitter))

    def embed_faces(self, faces: Tensor) -> Tensor:
        """Embed ArcFace crops (B, 3, 112, 112); the net was made for (x - 127.5) / 128."""
        embedding: Tensor = self.graph(faces * (127.5 / 128.0))
        return embedding


def arcface_crop(crops: Tensor, jitter: Tensor | None = None, size: int = 112) -> Tensor:
    """Aligned crops (B, 3, S, S) to ArcFace's own template at `size` pixels."""
    scale = size / 112.0
    half_pixel = (scale - 1.0) / 2.0
    return crop_to_template(crops, size, scale, (half_pixel, half_pixel), jitter)


def cached_id_embeddings(
    faces: NDArray[np.uint8], encoder: IdentityEncoder, cache: Path
) -> NDArray[np.float32]:
    """Vector, embedding and stage features of every face, concatenated: (N, sum(ID_WIDTHS))."""

    def embed(crops: Tensor) -> Tensor:
        identity: IdEmbedding = encoder(crops)
        return identity.rows()

    return _cached(faces, embed, sum(ID_WIDTHS), cache / "id-dlib.npy")


def cached_mobilefacenet(
    faces: NDArray[np.uint8], encoder: MobileFaceNet, cache: Path
) -> NDArray[np.float32]:
    """MobileFaceNet's embedding of every face, (N, 192)."""
    return _cached(faces, encoder, MOBILEFACENET_WIDTH, cache / "id-mobilefacenet.npy")


def split_embedding(rows: Tensor) -> IdEmbedding:
    """The IdEmbedding of rows (B, sum(ID_WIDTHS)) of `cached_id_embeddings`."""
    vector, embedding, *features = rows.split(list(ID_WIDTHS), dim=1)
    return IdEmbedding(vector, embedding, tuple(features))


def shows_held_out(id_rows: Tensor, records: Sequence[FaceRecord]) -> NDArray[np.bool_]:
    """Which training faces (N,) are a held-out one again, by dlib's embedding.

    Collections hold the same picture more than once, under several names.
    """
    embeddings = split_embedding(id_rows).embedding
    held_out = torch.tensor([record.held_out for record in records])
    copies = np.zeros(len(records), bool)
    if bool(held_out.any()):
        for start in range(0, len(embeddings), 4096):
            distances = torch.cdist(embeddings[start : start + 4096], embeddings[held_out])
            copies[start : start + 4096] = (distances.amin(dim=1) < SAME_PICTURE).numpy()
    copies[held_out.numpy()] = False
    return copies


def _cached(
    faces: NDArray[np.uint8], embed: Callable[[Tensor], Tensor], width: int, path: Path
) -> NDArray[np.float32]:
    def fill(array: NDArray[np.float32]) -> None:
        from tqdm import tqdm

        with torch.inference_mode():
            for start in tqdm(range(0, len(faces), _BATCH), path.stem):
                batch = torch.from_numpy(np.array(faces[start : start + _BATCH]))
                crops = batch.permute(0, 3, 1, 2).float() / 127.5 - 1.0
                array[start : start + _BATCH] = embed(crops).numpy()

    return cached_array(path, (len(faces), width), np.float32, fill)
