from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.fitting.dlib_resnet import _packed_integer, read_net, stored
from vidswap.identity.dlib_resnet import Affine, DlibResNet


@pytest.mark.parametrize(
    ("content", "value", "end"), [(b"\x01\x07", 7, 2), (b"\x82\x00\x01", -256, 3), (b"\x00", 0, 1)]
)
def test_packed_integers_are_read_as_dlib_writes_them(content: bytes, value: int, end: int) -> None:
    assert _packed_integer(content, 0) == (value, end)


def test_a_file_as_dlib_writes_it_fills_the_net(tmp_path: Path) -> None:
    net = DlibResNet()
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    content = b""
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            content += b"con_4" + tensor(torch.cat([p.flatten() for p in module.parameters()]))
        elif isinstance(module, Affine):
            content += b"affine_" + tensor(torch.cat([module.gamma, module.beta]))
    content += b"fc_2" + packed(128) + packed(0) + tensor(net.fc.weight.T.flatten())
    (tmp_path / "net.dat").write_bytes(content)
    read = read_net(tmp_path / "net.dat")
    for name, value in net.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], value, rtol=0, atol=0)
    state = stored(read)
    assert state["blocks.3.conv1.weight"].dtype == torch.float16
    assert state["blocks.3.affine1.gamma"].dtype == torch.float32


def packed(value: int) -> bytes:
    content = value.to_bytes((value.bit_length() + 7) // 8 or 1, "little")
    return bytes([len(content)]) + content


def tensor(values: torch.Tensor) -> bytes:
    sizes = (values.numel(), 1, 1, 1)
    floats = values.detach().numpy().astype(np.float32)
    return (
        packed(2)
        + b"".join(packed(size) for size in sizes)
        + struct.pack(f"<{floats.size}f", *floats)
    )
