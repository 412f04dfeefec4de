"""The nets of a report, and what they see in pairs of aligned crops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.digest import file_sha256
from vidswap.evaluation.judge import Crops, Judge, load_judge
from vidswap.identity.encoder import IdentityEncoder, dlib_crop
from vidswap.metrics.onnx_nets import OnnxNet, PoseNet
from vidswap.metrics.perceptual import VggConv5, load_vgg
from vidswap.metrics.report_metrics import FID_NET, FLOW_NET
from vidswap.people.embedding import crops_to_tensor
from vidswap.people.source import SourceReader
from vidswap.training.id_targets import arcface_crop

DIPD_STAGE = 2  # of dlib's five: (128, 8, 8), as far from its input and its end as VGG's conv5
DIPD_NET = "dlib ResNet, third stage (took part in training)"
MESH_NET = "MediaPipe attention mesh (drew the generator's boundary map)"
_ARCFACE_SIDE = 112  # pixels, where a net does not say its own


@dataclass(frozen=True, eq=False)
class Seen:
    """What the nets see in N crops: embeddings (N, D) of the judge, dlib's pooled vectors (N, 256)
    and middle features (N, C, H, W), and VGG's conv5 (N, 512, 14, 14) where it was given."""

    embeddings: NDArray[np.float32]
    pooled: NDArray[np.float32]
    middle: NDArray[np.float32]
    conv5: NDArray[np.float32] | None

    def of(self, i: int) -> Seen:
        """What is seen in the crop `i`, a batch of one."""
        conv5 = self.conv5[i : i + 1] if self.conv5 is not None else None
        one = slice(i, i + 1)
        return Seen(self.embeddings[one], self.pooled[one], self.middle[one], conv5)


@dataclass(frozen=True)
class ReportNets:
    """What a report runs; `judge` is None where dlib's net judges, which sees every crop anyway."""

    reader: SourceReader
    judge: Judge | None
    vgg: VggConv5 | None
    pose: PoseNet | None

    @classmethod
    def load(
        cls, id_model: Path | None = None, vgg: Path | None = None, pose: Path | None = None
    ) -> ReportNets:
        """Nets of a report's own. Raises MissingWeightsError, MissingLibraryError."""
        judge = load_id_model(id_model) if id_model is not None else None
        return cls(
            reader=SourceReader.load(),
            judge=judge,
            vgg=load_vgg(vgg) if vgg is not None else None,
            pose=PoseNet(pose) if pose is not None else None,
        )

    def close(self) -> None:
        """Free the detector's native graphs."""
        self.reader.close()

    @property
    def names(self) -> dict[str, str]:
        """The net of each kind of metric, in words."""
        return {
            "": "",
            "identity": self.judge.stated if self.judge else "dlib ResNet (took part in training)",
            "features": DIPD_NET,
            "fid": FID_NET,
            "vgg": "VGG-16, conv5_3" if self.vgg is not None else "",
            "mesh": MESH_NET,
            "pose": self.pose.name if self.pose is not None else "",
            "flow": FLOW_NET,
        }

    def see(self, crops: Crops) -> Seen:
        """What is seen in aligned crops (256, 256, 3) uint8 RGB."""
        encoder: IdentityEncoder = self.reader.encoder
        with torch.inference_mode():
            tensor = crops_to_tensor(crops)
            stages = encoder.resnet.stages(dlib_crop(tensor))
            pooled = encoder.resnet.pooled(stages[-1])
            embeddings = encoder.resnet.embed(pooled).numpy()
            conv5 = self.vgg(tensor).numpy() if self.vgg is not None else None
        if self.judge is not None:
            embeddings = self.judge.embed(crops)
        return Seen(embeddings, pooled.numpy(), stages[DIPD_STAGE].numpy(), conv5)

    def embed(self, crops: Crops) -> NDArray[np.float32]:
        """The judge's embeddings (N, D) of aligned crops."""
        return self.see(crops).embeddings


def load_id_model(path: Path) -> Judge:
    """A face net that judges identity: an ONNX file, or what `load_judge` reads.

    An ONNX net is given the ArcFace crop at its own size (112 pixels where it takes any), RGB in
    [-1, 1], (1, 3, S, S). Raises MissingWeightsError.
    """
    if path.suffix.lower() != ".onnx":
        return load_judge(path)
    net = OnnxNet(path)
    side = net.input_side or _ARCFACE_SIDE

    def embed(crops: Tensor) -> Tensor:
        faces = arcface_crop(crops, size=side).numpy()
        rows = [net(face[None])[0].reshape(-1) for face in faces]
        return torch.from_numpy(np.stack(rows))

    return Judge(path.stem, file_sha256(path), False, embed)
