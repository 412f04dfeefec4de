"""dlib's face recognition ResNet-29 as a PyTorch module.

The net (King 2017, CC0) maps a 150x150 face to a 128-d embedding in which two pictures of one
person are less than about 0.6 apart (Euclidean). The stages before it are the id features of the
multi-scale id embedding (AP-GAN, III.A). `pipelines/fitting/dlib_resnet.py` converts the weights.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.runtime.weights import load_weights

WEIGHTS = Path(__file__).parent / "dlib_resnet.safetensors"

INPUT_SIZE = 150  # pixels
EMBEDDING_SIZE = 128
POOLED_SIZE = 256  # "the last vector before the fully connected layer"
SAME_PERSON_DISTANCE = 0.6  # Euclidean; dlib's published threshold

# Channels of each stage's output, and its side in pixels for a 150-pixel input.
STAGE_CHANNELS = (32, 64, 128, 256, 256)
STAGE_SIZES = (35, 17, 8, 4, 2)

_MEAN_RGB = (122.782, 117.001, 104.298)
_SCALE = 256.0
# Residual blocks as (channels, halves the resolution), and the block each stage ends with.
_BLOCKS = (
    (32, False), (32, False), (32, False), (64, True), (64, False), (64, False), (64, False),
    (128, True), (128, False), (128, False), (256, True), (256, False), (256, False), (256, True),
)  # fmt: skip
_STAGE_ENDS = (2, 6, 9, 12, 13)

# ArcFace's 112-pixel template to dlib's own 150-pixel crop: x150 = scale * x112 + offset.
DLIB_FROM_ARCFACE_SCALE = 1.4591
DLIB_FROM_ARCFACE_OFFSET = (-7.98, -28.73)


class Affine(nn.Module):
    """dlib's `affine`: a batch normalisation frozen into a gain and a bias a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma[:, None, None] + self.beta[:, None, None]


class _Block(nn.Module):
    """Two 3x3 convolutions and a skip that dlib pads with zeros to the larger of the two shapes."""

    def __init__(self, in_channels: int, channels: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(
            in_channels, channels, 3, stride=2 if down else 1, padding=0 if down else 1
        )
        self.affine1 = Affine(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.affine2 = Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.affine2(self.conv2(F.relu(self.affine1(self.conv1(x)))))
        skip = F.avg_pool2d(x, 2) if self.down else x
        height, width = max(y.shape[2], skip.shape[2]), max(y.shape[3], skip.shape[3])
        return F.relu(
            _pad_to(y, y.shape[1], height, width) + _pad_to(skip, y.shape[1], height, width)
        )


def _pad_to(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    missing = (width - x.shape[3], height - x.shape[2], channels - x.shape[1])
    if missing == (0, 0, 0):
        return x
    return F.pad(x, (0, missing[0], 0, missing[1], 0, missing[2]))


class DlibResNet(nn.Module):
    """Faces (B, 3, 150, 150), RGB in [-1, 1], to embeddings and stage features."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        self.stem_affine = Affine(32)
        blocks, in_channels = [], 32
        for channels, down in _BLOCKS:
            blocks.append(_Block(in_channels, channels, down))
            in_channels = channels
        self.blocks = nn.ModuleList(blocks)
        self.fc = nn.Linear(POOLED_SIZE, EMBEDDING_SIZE, bias=False)
        self.register_buffer("mean", torch.tensor(_MEAN_RGB)[:, None, None], persistent=False)

    def stages(self, faces: Tensor) -> list[Tensor]:
        """The output (B, C, H, W) of each of the five stages; see `STAGE_CHANNELS`."""
        x = ((faces + 1.0) * 127.5 - self.mean) / _SCALE
        x = F.max_pool2d(F.relu(self.stem_affine(self.stem(x))), 3, stride=2)
        outputs = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _STAGE_ENDS:
                outputs.append(x)
        return outputs

    def forward(self, faces: Tensor) -> Tensor:
        """Embeddings (B, 128), compared by Euclidean distance."""
        return self.embed(self.pooled(self.stages(faces)[-1]))

    def pooled(self, last_stage: Tensor) -> Tensor:
        """The id vector (B, 256): global average of the last stage."""
        return last_stage.mean(dim=(2, 3))

    def embed(self, pooled: Tensor) -> Tensor:
        """Embeddings (B, 128) of id vectors (B, 256)."""
        embedding: Tensor = self.fc(pooled)
        return embedding


def load_dlib_resnet(path: Path = WEIGHTS) -> DlibResNet:
    """The net with its published weights, frozen and in evaluation mode.

    Raises MissingWeightsError when `path` is absent or is not this net's.
    """
    return load_weights(DlibResNet(), path, "dlib's face recognition net")
