"""Checkpoints are read by the code that registered for their architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vidswap.errors import CheckpointError
from vidswap.models import registry
from vidswap.models.checkpoint import load_generator
from vidswap.models.checkpoint_file import CheckpointFile, write_checkpoint
from vidswap.models.face_net import FaceBatch, FaceNet, NetInputs, at_size


class Inverted(FaceNet):
    """A net of another kind: it takes nothing but the target, and gives its negative."""

    name = "inverted"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.strength = torch.nn.Parameter(torch.ones(1))
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    @property
    def takes(self) -> NetInputs:
        return NetInputs()

    def swap(self, batch: FaceBatch) -> Tensor:
        assert batch.targets.shape[-1] == self._size
        return -self.strength * batch.targets


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))

    @registry.register("inverted")
    def build(file: CheckpointFile) -> registry.BuiltNet:
        net = Inverted(file.count("size"))
        net.load_state_dict(file.tensors)
        return registry.BuiltNet(net, 7)

    path = tmp_path / "inverted.safetensors"
    write_checkpoint({"strength": torch.ones(1)}, path, {"architecture": "inverted", "size": "128"})
    return path


def test_a_net_of_another_kind_is_found_by_the_name_in_its_checkpoint(checkpoint: Path) -> None:
    loaded = load_generator(checkpoint)
    assert isinstance(loaded.net, Inverted)
    assert (loaded.size, loaded.images_trained) == (128, 7)


def test_a_batch_of_another_size_is_brought_to_that_of_the_net_and_back(checkpoint: Path) -> None:
    targets = torch.linspace(-1, 1, 256).expand(2, 3, 256, 256).contiguous()
    answer = at_size(load_generator(checkpoint).net, FaceBatch(targets))
    assert answer.shape == targets.shape
    torch.testing.assert_close(answer, -targets, atol=0.01, rtol=0.0)


def test_an_unknown_architecture_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    write_checkpoint({"x": torch.ones(1)}, path, {"architecture": "foreign"})
    with pytest.raises(CheckpointError, match='"foreign"; allowed: apgan, apgan-adapter'):
        load_generator(path)
