"""Checkpoints of models that fill faces are read as written, and refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vidswap.errors import CheckpointError
from vidswap.inpainting.context_gan import ContextConfig, ContextNet
from vidswap.inpainting.inpainter import save_inpainter
from vidswap.inpainting.swapinpaint import SwapInpaint, SwapInpaintConfig
from vidswap.models.checkpoint import load_generator
from vidswap.models.checkpoint_file import read_checkpoint, write_checkpoint
from vidswap.swap.inpaint_job import packaged


def test_both_stages_come_back_as_they_were(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = SwapInpaintConfig((4, 4, 4, 4), 4, 64, "aei", (4, 4, 4, 4, 4, 4, 4), "incomplete")
    net, path = SwapInpaint(config), tmp_path / "both.safetensors"
    save_inpainter(net, path, 3)
    loaded = load_generator(path)
    assert isinstance(loaded.net, SwapInpaint) and loaded.net.config == config
    assert loaded.images_trained == 3 and not loaded.net.takes.reference
    for name, tensor in net.state_dict().items():
        assert torch.allclose(loaded.net.state_dict()[name], tensor, atol=1e-3), name


def test_the_packaged_content_net_loads_and_leaves_the_swap_to_apgan() -> None:
    net = load_generator(packaged("swapinpaint")).net
    assert isinstance(net, SwapInpaint) and net.aei is None
    assert net.takes.reference and net.takes.boundary_map and net.takes.mask
    assert sum(p.numel() for p in net.parameters()) < 1.2e6


@pytest.mark.parametrize(
    ("setting", "value", "match"),
    [
        ("generator", "vgg", "generator is none of apgan, aei"),
        ("given", "complete", "given is none of"),
        ("content_size", 96, "size is none of 64, 128"),
        ("content_widths", [4, 4, 4], "content_widths is not 4 numbers"),
        ("content_widths", [4096, 4096, 4096, 4096], "is \\["),
    ],
)
def test_configurations_that_do_not_fit_are_named(
    tmp_path: Path, setting: str, value: object, match: str
) -> None:
    path = tmp_path / "net.safetensors"
    save_inpainter(SwapInpaint(SwapInpaintConfig((4, 4, 4, 4), 4, 64)), path, 0)
    file = read_checkpoint(path)
    config = json.loads(file.metadata["config"]) | {setting: value}
    write_checkpoint(file.tensors, path, dict(file.metadata) | {"config": json.dumps(config)})
    with pytest.raises(CheckpointError, match=match):
        load_generator(path)


def test_a_context_net_of_another_variant_is_none(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_inpainter(ContextNet(ContextConfig(2, 8, "progan")), path, 0)
    loaded = load_generator(path).net
    assert isinstance(loaded, ContextNet) and loaded.config.variant == "progan"
    file = read_checkpoint(path)
    config = json.loads(file.metadata["config"]) | {"variant": "both"}
    write_checkpoint(file.tensors, path, dict(file.metadata) | {"config": json.dumps(config)})
    with pytest.raises(CheckpointError, match="variant is none of cascaded, progan"):
        load_generator(path)
