"""Convert the face nets of the MediaPipe project to the weights that vidswap loads.

    pip install tflite flatbuffers
    pip download --no-deps --only-binary :all: --python-version 3.11 mediapipe==0.10.9 -d wheels
    python -m pipelines.fitting.face_nets wheels/mediapipe-0.10.9-*.whl

writes `vidswap/faces/nets/weights/*.safetensors`. The published files hold float16 weights, some
as sparse matrices; here they are dense, still float16, so that nothing is lost. Layers keep the
order in which they compute; `AttentionMesh` computes its parts side by side, and takes the weights
of several layers as the groups of one.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import tflite
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.faces.nets import loading
from vidswap.faces.nets.attention_mesh import AttentionMesh
from vidswap.faces.nets.blazeface_full_range import BlazeFaceFullRange
from vidswap.faces.nets.blazeface_short_range import BlazeFaceShortRange
from vidswap.faces.nets.selfie_segmentation import SelfieSegmentation

FILES = {
    "blazeface_full_range": "mediapipe/modules/face_detection/face_detection_full_range_sparse",
    "blazeface_short_range": "mediapipe/modules/face_detection/face_detection_short_range",
    "attention_mesh": "mediapipe/modules/face_landmark/face_landmark_with_attention",
    "selfie_segmentation": "mediapipe/modules/selfie_segmentation/selfie_segmentation",
}
_WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "PRELU", "Convolution2DTransposeBias")

# Numbers of the first depthwise, plain and PReLU layer: of regions and of the five parts.
_REGIONS = ((18, 20), (30, 33), (48, 53))  # lips, right eye, left eye
_PARTS = ((24, 26), (36, 39), (42, 46), (54, 59), (60, 66))  # lips, eye, iris, eye, iris
_POINTS = ("conv_lips", "conv_left_eye", "conv_left_iris", "conv_right_eye", "conv_right_iris")


@dataclass(frozen=True)
class Layer:
    """A layer's weights, (out, in, height, width) or PReLU slopes (C,), and its bias."""

    name: str
    weight: Tensor
    bias: Tensor | None


def read_layers(content: bytes) -> list[Layer]:
    """The layers with weights of a TFLite model, in the order in which they compute."""
    model = tflite.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    kinds = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
    constants: dict[int, NDArray[np.float16]] = {}
    layers = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if kind == "CUSTOM":
            kind = code.CustomCode().decode()
        inputs, output = operator.InputsAsNumpy(), int(operator.OutputsAsNumpy()[0])
        if kind in ("DEQUANTIZE", "DENSIFY"):
            source = int(inputs[0])
            found = constants.get(source)
            constants[output] = _values(model, graph.Tensors(source)) if found is None else found
        elif kind in _WITH_WEIGHTS:
            weight = torch.from_numpy(constants[int(inputs[1])].copy())
            bias = torch.from_numpy(constants[int(inputs[2])].copy()) if len(inputs) > 2 else None
            if kind == "PRELU":
                weight = weight.flatten()
            else:  # (out, h, w, in); depthwise (1, h, w, out), transposed alike
                weight = weight.permute((0, 3, 1, 2) if kind == "CONV_2D" else (3, 0, 1, 2))
            layers.append(Layer(graph.Tensors(output).Name().decode(), weight.contiguous(), bias))
    return layers


def _values(model: Any, tensor: Any) -> NDArray[np.float16]:
    """A constant tensor, made dense. Raises ValueError unless it is float16."""
    if tensor.Type() != tflite.TensorType.FLOAT16:
        raise ValueError(f"{tensor.Name().decode()}: type {tensor.Type()}, expected float16")
    values = model.Buffers(tensor.Buffer()).DataAsNumpy().view(np.float16)
    shape = [int(size) for size in tensor.ShapeAsNumpy()]
    sparsity = tensor.Sparsity()
    return values.reshape(shape) if sparsity is None else _dense(values, shape, sparsity)


def _dense(values: NDArray[np.float16], shape: list[int], sparsity: Any) -> NDArray[np.float16]:
    """The dense form of TFLite's sparse tensors, whose dimensions each are dense or compressed.

    Blocks are dimensions of their own, after those of the tensor.
    """
    order = [int(v) for v in sparsity.TraversalOrderAsNumpy()]
    blocks = [int(v) for v in sparsity.BlockMapAsNumpy()] if sparsity.BlockMapLength() else []
    metadata = [sparsity.DimMetadata(i) for i in range(sparsity.DimMetadataLength())]
    block_sizes = {
        dimension: metadata[len(shape) + i].DenseSize() for i, dimension in enumerate(blocks)
    }
    dense = np.zeros(shape, np.float16)
    taken = 0

    def place(level: int, position: int, at: dict[int, int]) -> None:
        nonlocal taken
        if level == len(order):
            index = [at[d] * block_sizes.get(d, 1) for d in range(len(shape))]
            for i, dimension in enumerate(blocks):
                index[dimension] += at[len(shape) + i]
            dense[tuple(index)] = values[taken]
            taken += 1
            return
        meta, dimension = metadata[level], order[level]
        if meta.Format() == tflite.DimensionType.DENSE:
            size = meta.DenseSize()
            for i in range(size):
                place(level + 1, position * size + i, {**at, dimension: i})
        else:
            segments, indices = _integers(meta, "ArraySegments"), _integers(meta, "ArrayIndices")
            for i in range(segments[position], segments[position + 1]):
                place(level + 1, i, {**at, dimension: int(indices[i])})

    place(0, 0, {})
    if taken != values.size:
        raise ValueError(f"{taken} of {values.size} sparse values placed")
    return dense


def _integers(meta: Any, field: str) -> list[int]:
    """An array of a dimension's metadata; its element type is a union."""
    kind = getattr(meta, f"{field}Type")()
    vector = {
        tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
        tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
        tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
    }[kind]()
    table = getattr(meta, field)()
    vector.Init(table.Bytes, table.Pos)
    return [int(v) for v in vector.ValuesAsNumpy()]


def in_order(net: nn.Module, layers: Sequence[Layer], example: Tensor) -> dict[str, Tensor]:
    """The state of a net whose layers compute in the order of `layers`."""
    called: list[str] = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.PReLU):
            module.register_forward_pre_hook(lambda *_, name=name: called.append(name))
    net(example)
    state = {}
    for name, layer in zip(called, layers, strict=True):
        state[f"{name}.weight"] = layer.weight
        if layer.bias is not None:
            state[f"{name}.bias"] = layer.bias
    return state


def mesh_state(net: AttentionMesh, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """The state of the attention mesh, whose parts are groups of one layer here.

    In the published file every layer has a number, parts one after another.
    """
    by_name = {layer.name: layer for layer in layers}
    trunk = [layer for layer in layers if _number(layer.name) < 20 - 2 * ("depth" in layer.name)]
    heads = [by_name["output_mesh"], by_name["conv_faceflag"]]
    single = nn.ModuleList([net.stem, net.stem_activation, net.early, net.trunk, net.neck])
    state = dict(_assigned(net, _leaves(single), trunk))
    state |= _assigned(net, [net.mesh, net.presence], heads)
    for part, starts in ((net.regions, _REGIONS), (net.parts, _PARTS)):
        depthwise = plain = slopes = 0
        grouped = []
        for module in _leaves(part):
            if isinstance(module, nn.PReLU):
                names = [f"p_re_lu_{start + slopes}" for _, start in starts]
                slopes += 1
            elif module.in_channels == module.groups:
                names = [f"depthwise_conv2d_{start + depthwise}" for start, _ in starts]
                depthwise += 1
            else:
                names = [f"conv2d_{start + plain}" for _, start in starts]
                plain += 1
            grouped.append(_side_by_side([by_name[name] for name in names]))
        state |= _assigned(net, _leaves(part), grouped)
    return state | _assigned(net, net.points, [by_name[name] for name in _POINTS])


def _number(name: str) -> int:
    """The number at the end of a layer's name, 0 without one; -1 for other layers than counted."""
    match = re.fullmatch(r"(?:depthwise_conv2d|conv2d|p_re_lu)(?:_(\d+))?", name)
    return int(match[1] or 0) if match else 10**6


def _side_by_side(layers: Sequence[Layer]) -> Layer:
    biases = [layer.bias for layer in layers if layer.bias is not None]
    weight = torch.cat([layer.weight for layer in layers])
    return Layer(layers[0].name, weight, torch.cat(biases) if biases else None)


def _leaves(net: nn.Module) -> list[Any]:
    return [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.PReLU)]


def _assigned(
    net: nn.Module, modules: Sequence[nn.Module] | nn.ModuleList, layers: Sequence[Layer]
) -> Iterator[tuple[str, Tensor]] | dict[str, Tensor]:
    names = {module: name for name, module in net.named_modules()}
    state = {}
    for module, layer in zip(modules, layers, strict=True):
        state[f"{names[module]}.weight"] = layer.weight
        if layer.bias is not None:
            state[f"{names[module]}.bias"] = layer.bias
    return state


def shuffled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """TensorFlow's depth_to_space keeps a pixel's values together, torch's pixel_shuffle the pixels
    of a value: reorder what feeds it.
    """
    for name in [name for name in state if name.startswith("boxes.")]:
        values = state[name]
        state[name] = values.unflatten(0, (4, 16)).transpose(0, 1).flatten(0, 1).contiguous()
    return state


def convert(name: str, content: bytes) -> dict[str, Tensor]:
    """The float16 state of a net by its name in `FILES`."""
    layers = read_layers(content)
    if name == "attention_mesh":
        return mesh_state(AttentionMesh(), layers)
    if name == "blazeface_full_range":
        return shuffled(in_order(BlazeFaceFullRange(), layers, torch.zeros(1, 3, 192, 192)))
    if name == "blazeface_short_range":
        return in_order(BlazeFaceShortRange(), layers, torch.zeros(1, 3, 128, 128))
    return in_order(SelfieSegmentation(), layers, torch.zeros(1, 3, 256, 256))


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert the nets in a mediapipe 0.10.9 wheel.")
    parser.add_argument("wheel", type=Path, help="mediapipe-0.10.9-*.whl")
    parser.add_argument("--output", type=Path, default=loading.FOLDER, help="folder to write to")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(arguments.wheel) as wheel, torch.no_grad():
        for name, file in FILES.items():
            state = convert(name, wheel.read(f"{file}.tflite"))
            path = arguments.output / f"{name}.safetensors"
            safetensors.torch.save_file(state, path)
            values = sum(tensor.numel() for tensor in state.values())
            print(f"{path}: {len(state)} tensors, {values:,} values, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
