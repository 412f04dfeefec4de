from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.models.test_apgan import identity, pictures, small_generator
from vidswap.errors import CheckpointError
from vidswap.models.apgan.checkpoint import save_generator
from vidswap.models.checkpoint import load_generator


def test_a_saved_generator_loads_as_the_same_net(tmp_path: Path) -> None:
    net = small_generator()
    path = tmp_path / "net.safetensors"
    save_generator(net, path, images_trained=123)
    loaded = load_generator(path)
    target, boundary_map = pictures(1, 256)
    with torch.no_grad():
        expected = net.half().float()(target, boundary_map, identity(1))
        found = loaded.net(target, boundary_map, identity(1))
    torch.testing.assert_close(found, expected)
    assert loaded.images_trained == 123 and loaded.size == 256
    assert len(loaded.sha256) == 64
    assert not any(p.requires_grad for p in loaded.net.parameters())


def test_bad_checkpoints_are_refused_with_their_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent.safetensors: no such checkpoint"):
        load_generator(tmp_path / "absent.safetensors")
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"\x00" * 100)
    with pytest.raises(CheckpointError, match="not a safetensors checkpoint"):
        load_generator(garbage)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    with pytest.raises(CheckpointError, match="'unknown'; allowed: apgan"):
        load_generator(foreign)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(
        {"stem.weight": torch.zeros(1)},
        path,
        {
            "architecture": "apgan",
            "config": '{"size": 128, "channels": [[128, 8], [64, 8], [32, 8],'
            ' [16, 8], [8, 8], [4, 8], [256, 8]], "refined": []}',
        },
    )
    with pytest.raises(CheckpointError, match="does not fit"):
        load_generator(path)
