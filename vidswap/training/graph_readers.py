"""Small convolutional nets stored as TFLite or TensorFlow.js graphs, run as differentiable PyTorch.

Only the operations that face encoders use are read. Both readers flatten the graph to a list of
steps: a recursive evaluation would keep every activation alive until the garbage collector runs.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vidswap.errors import MissingLibraryError, MissingWeightsError

Operation = Callable[..., Tensor]


@dataclass(frozen=True)
class Step:
    """One operation: names of the tensors it reads, of the tensor it writes, and what it does."""

    inputs: tuple[str, ...]
    output: str
    operation: Operation


class GraphNet(nn.Module):
    """Runs steps in order on (B, C, H, W) tensors and forgets each tensor after its last use."""

    def __init__(self, steps: list[Step], input_name: str, output_name: str) -> None:
        super().__init__()
        self.steps = steps
        self.input_name = input_name
        self.output_name = output_name
        self._last_use = {name: i for i, step in enumerate(steps) for name in step.inputs}

    def forward(self, x: Tensor) -> Tensor:
        tensors = {self.input_name: x}
        for index, step in enumerate(self.steps):
            tensors[step.output] = step.operation(*(tensors[name] for name in step.inputs))
            for name in set(step.inputs):
                if self._last_use[name] == index and name != self.output_name:
                    del tensors[name]
        return tensors[self.output_name].flatten(1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "GraphNet":
        """Move the constants inside the steps together with the module."""
        for step in self.steps:
            if isinstance(step.operation, _ConstantOperation):
                step.operation.constants = [fn(c) for c in step.operation.constants]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class _ConstantOperation:
    """An operation on one tensor with constant tensors of its own."""

    def __init__(self, function: Callable[..., Tensor], *constants: Tensor) -> None:
        self.function = function
        self.constants = list(constants)

    def __call__(self, x: Tensor) -> Tensor:
        constants = [c.to(x.dtype) for c in self.constants]
        return self.function(x, *constants)


def _same_padding(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's SAME: pad so that ceil(size / stride) outputs fit, more at the far end."""
    pads = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads) if any(pads) else x


def _convolution(stride: int, same: bool, depthwise: bool) -> Callable[..., Tensor]:
    def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        kernel = weight.shape[2]
        groups = x.shape[1] if depthwise else 1
        if same and stride == 1 and kernel % 2:
            return F.conv2d(x, weight, bias, padding=kernel // 2, groups=groups)
        if same:
            x = _same_padding(x, kernel, stride)
        return F.conv2d(x, weight, bias, stride=stride, groups=groups)

    return convolve


def read_tflite(path: Path) -> GraphNet:
    """Read a float TFLite net of convolutions and PReLUs (input NHWC there, NCHW here).

    Raises MissingWeightsError when the file is absent, ValueError on an unknown operation.
    """
    if not path.is_file():
        raise MissingWeightsError(f"{path}: no such file; expected a TFLite face encoder")
    try:
        import tflite
    except ImportError as error:
        raise MissingLibraryError(
            "a TFLite encoder needs the tflite package: pip install 'vidswap[training]'"
        ) from error
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}

    def constant(index: int) -> NDArray[np.float32] | None:
        tensor = graph.Tensors(index)
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength() == 0 or tensor.Type() != tflite.TensorType.FLOAT32:
            return None
        values: NDArray[np.float32] = buffer.DataAsNumpy().view(np.float32)
        return values.reshape(tensor.ShapeAsNumpy())

    steps: list[Step] = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        indices = [int(j) for j in operator.InputsAsNumpy()]
        output = str(int(operator.OutputsAsNumpy()[0]))
        constants = [c for j in indices if (c := constant(j)) is not None]
        inputs = tuple(str(j) for j in indices if constant(j) is None)
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            depthwise = kind.startswith("DEPTHWISE")
            options = tflite.DepthwiseConv2DOptions() if depthwise else tflite.Conv2DOptions()
            table = operator.BuiltinOptions()
            options.Init(table.Bytes, table.Pos)
            # (out, h, w, in) to (out, in, h, w); depthwise (1, h, w, out) to (out, 1, h, w).
            weight = (
                constants[0].transpose(3, 0, 1, 2)
                if depthwise
                else constants[0].transpose(0, 3, 1, 2)
            )
            same = options.Padding() == tflite.Padding.SAME
            operation: Operation = _ConstantOperation(
                _convolution(options.StrideH(), same, depthwise),
                torch.from_numpy(weight.copy()),
                torch.from_numpy(constants[1].copy()),
            )
        elif kind == "MUL":
            operation = _ConstantOperation(
                torch.mul, torch.from_numpy(constants[0].copy())[:, None, None]
            )
        elif kind == "RESHAPE":
            inputs, operation = inputs[:1], lambda x: x.flatten(1)
        elif kind in _ELEMENTWISE:
            operation = _ELEMENTWISE[kind]
        else:
            raise ValueError(
                f"{path}: operation {kind} is not known; known: {sorted(_ELEMENTWISE)}"
            )
        steps.append(Step(inputs, output, operation))
    steps = _fuse_prelu(steps)
    return GraphNet(steps, str(int(graph.InputsAsNumpy()[0])), str(int(graph.OutputsAsNumpy()[0])))


_ELEMENTWISE: dict[str, Operation] = {
    "ADD": torch.add,
    "SUB": torch.sub,
    "RELU": torch.relu,
    "ABS": torch.abs,
}


def _fuse_prelu(steps: list[Step]) -> list[Step]:
    """Replace relu(x) + m (x - |x|), five passes over memory, by PReLU of slope 2m."""
    fused: list[Step] = []
    index = 0
    while index < len(steps):
        window = steps[index : index + 5]
        multiply = window[3].operation if len(window) == 5 else None
        if (
            window[0].operation is torch.relu
            and isinstance(multiply, _ConstantOperation)
            and multiply.function is torch.mul
            and [s.operation for s in (window[1], window[2], window[4])]
            == [torch.abs, torch.sub, torch.add]
        ):
            slope = 2.0 * multiply.constants[0].flatten()
            operation = _ConstantOperation(F.prelu, slope)
            fused.append(Step(window[0].inputs, window[4].output, operation))
            index += 5
        else:
            fused.append(steps[index])
            index += 1
    return fused


def read_tfjs(path: Path, output_name: str) -> GraphNet:
    """Read a TensorFlow.js graph model up to the node `output_name` (NHWC there, NCHW here).

    `path` is the JSON; its weights lie beside it. Raises MissingWeightsError when a file is absent,
    ValueError on an unknown operation.
    """
    if not path.is_file():
        raise MissingWeightsError(f"{path}: no such file; expected a TensorFlow.js graph")
    model = json.loads(path.read_text())
    constants = dict(_tfjs_weights(path.parent, model["weightsManifest"]))
    steps: list[Step] = []
    input_name = ""
    for node in _needed_nodes(model["modelTopology"]["node"], output_name):
        kind, name = node["op"], node["name"]
        inputs = node.get("input", [])
        free = tuple(i for i in inputs if i not in constants)
        fixed = [constants[i] for i in inputs if i in constants]
        operation: Operation
        if kind == "Const":
            continue
        if kind == "Placeholder":
            input_name = name
            continue
        if kind in ("Conv2D", "DepthwiseConv2dNative"):
            stride = int(node["attr"]["strides"]["list"]["i"][1])
            same = base64.b64decode(node["attr"]["padding"]["s"]) == b"SAME"
            depthwise = kind.startswith("Depthwise")
            # (h, w, in, out) to (out, in, h, w); depthwise (h, w, in, 1) to (in, 1, h, w).
            axes = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
            operation = _ConstantOperation(
                _convolution(stride, same, depthwise), fixed[0].permute(axes).contiguous()
            )
        elif kind in _TFJS_BINARY:
            operation = _ConstantOperation(_TFJS_BINARY[kind], _per_channel(fixed[0]))
        elif kind == "Relu":
            operation = torch.relu
        elif kind == "Sigmoid":
            operation = torch.sigmoid
        elif kind == "Mean":
            operation = _global_average
        elif kind == "_FusedMatMul":
            after = node["attr"]["fused_ops"]["list"]["s"]
            fused = [base64.b64decode(each).decode() for each in after]
            if fused not in (["BiasAdd"], ["BiasAdd", "Relu"]):
                raise ValueError(f"{path}: a product with {', '.join(fused)} is not known")
            product = _linear_relu if "Relu" in fused else F.linear
            operation = _ConstantOperation(product, fixed[0].T.contiguous(), fixed[1])
        else:
            raise ValueError(
                f"{path}: operation {kind} is not known; known: {sorted(_TFJS_BINARY)}"
            )
        steps.append(Step(free, name, operation))
    return GraphNet(steps, input_name, output_name)


_TFJS_BINARY: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "Mul": torch.mul,
    "Minimum": torch.minimum,
    "Maximum": torch.maximum,
}


def _linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.relu(F.linear(x, weight, bias))


def _global_average(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3))


def _per_channel(constant: Tensor) -> Tensor:
    """A constant that broadcasts over the last axis there, over the channel axis here."""
    return constant.reshape(-1, 1, 1)


def _needed_nodes(nodes: list[dict[str, Any]], output_name: str) -> list[dict[str, Any]]:
    """Nodes the output depends on; the file lists a node after its inputs in its own order."""
    by_name = {str(node["name"]): node for node in nodes}
    ordered: list[dict[str, Any]] = []
    done: set[str] = set()
    pending = [(output_name, False)]
    while pending:
        name, expanded = pending.pop()
        if name in done:
            continue
        node = by_name[name]
        if expanded:
            done.add(name)
            ordered.append(node)
            continue
        pending.append((name, True))
        inputs = node.get("input", [])
        pending += [(str(i), False) for i in inputs]
    return ordered


def _tfjs_weights(folder: Path, manifest: list[dict[str, Any]]) -> Iterator[tuple[str, Tensor]]:
    for group in manifest:
        paths, weights = group["paths"], group["weights"]
        missing = [p for p in paths if not (folder / p).is_file()]
        if missing:
            raise MissingWeightsError(f"{folder / missing[0]}: no such file; it holds the weights")
        content = b"".join((folder / p).read_bytes() for p in paths)
        offset = 0
        for weight in weights:
            size = int(np.prod(weight["shape"])) if weight["shape"] else 1
            stored = weight.get("quantization", {}).get("dtype", weight["dtype"])
            dtype = np.dtype(stored)
            values = np.frombuffer(content, dtype, size, offset).reshape(weight["shape"])
            offset += size * dtype.itemsize
            if weight["dtype"] == "float32":
                yield weight["name"], torch.from_numpy(values.astype(np.float32))
            else:
                yield weight["name"], torch.from_numpy(values.copy())
