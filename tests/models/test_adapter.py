"""An adapter: a small change of a generator, its file, and the way back from the file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.models.test_apgan import identity, pictures, small_generator
from vidswap.errors import CheckpointError, DiskFullError
from vidswap.models.adapter import Adapter, apply_changes
from vidswap.models.apgan.checkpoint import AdapterOrigin, save_adapter, save_generator
from vidswap.models.apgan.generator import Generator, GeneratorConfig
from vidswap.models.checkpoint import LoadedGenerator, default_checkpoint, load_generator

RANK = 2


def changed_adapter(net: Generator) -> Adapter:
    """An adapter with a random change in every tensor."""
    adapter = Adapter(net, RANK)
    torch.manual_seed(7)
    with torch.no_grad():
        for tensor in adapter.tensors().values():
            tensor.copy_(0.05 * torch.randn(tensor.shape))
    return adapter


def answer(net: Generator) -> torch.Tensor:
    target, boundary_map = pictures(1, net.config.size)
    with torch.no_grad():
        return net(target, boundary_map, identity(1))


@pytest.fixture
def base(tmp_path: Path) -> LoadedGenerator:
    path = tmp_path / "base.safetensors"
    save_generator(small_generator(), path, images_trained=100)
    return load_generator(path)


def origin(base: LoadedGenerator) -> AdapterOrigin:
    return AdapterOrigin(
        base=base.path.name,
        base_sha256=base.sha256,
        config=base.net.config,
        images=20,
        minutes=1.5,
        shots_sha256="0" * 64,
    )


def test_a_new_adapter_changes_nothing() -> None:
    net = small_generator()
    before = answer(net)
    Adapter(net, RANK)
    torch.testing.assert_close(answer(net), before)


def test_applied_changes_give_the_net_that_was_trained() -> None:
    net, plain = small_generator(), small_generator()
    adapter = changed_adapter(net)
    apply_changes(plain, adapter.tensors())
    torch.testing.assert_close(answer(net), answer(plain), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(answer(small_generator()), answer(plain), atol=1e-2)


def test_only_the_decoder_changes() -> None:
    plain = small_generator()
    apply_changes(plain, changed_adapter(small_generator()).tensors())
    old = dict(small_generator().named_parameters())
    changed = {n for n, p in plain.named_parameters() if not torch.equal(p, old[n])}
    decoder = {n for n in old if n.startswith(("up.", "refine.", "pe_", "to_rgb"))}
    assert changed == decoder


def test_only_the_changes_get_gradients() -> None:
    net = small_generator()
    adapter = Adapter(net, RANK)
    target, boundary_map = pictures(1, 256)
    net(target, boundary_map, identity(1)).square().mean().backward()
    with_gradient = {id(p) for p in net.parameters() if p.grad is not None}
    assert with_gradient == {id(t) for t in adapter.tensors().values()}


def test_the_adapter_of_the_usual_generator_is_at_most_5_mb(tmp_path: Path) -> None:
    net = Generator(GeneratorConfig())
    path = tmp_path / "pair.safetensors"
    about = AdapterOrigin("apgan-256.safetensors", "0" * 64, net.config, 1, 1.0, "0" * 64)
    save_adapter(Adapter(net).tensors(), path, about)
    assert path.stat().st_size <= 5_000_000


def test_a_saved_adapter_loads_as_its_generator_with_the_change(
    base: LoadedGenerator, tmp_path: Path
) -> None:
    net = deepcopy(base.net)
    adapter = changed_adapter(net)
    path = tmp_path / "pair.safetensors"
    save_adapter(adapter.tensors(), path, origin(base))
    loaded = load_generator(path)
    torch.testing.assert_close(answer(loaded.net), answer(net), rtol=0.01, atol=0.01)
    assert loaded.images_trained == 120
    assert loaded.sha256 != base.sha256
    assert not any(p.requires_grad for p in loaded.net.parameters())


def test_an_adapter_without_its_generator_says_which_it_needs(
    base: LoadedGenerator, tmp_path: Path
) -> None:
    path = tmp_path / "pair.safetensors"
    save_adapter(Adapter(deepcopy(base.net), RANK).tensors(), path, origin(base))
    base.path.unlink()
    with pytest.raises(CheckpointError, match=rf"tuned from base.safetensors .*{base.sha256[:12]}"):
        load_generator(path)
    save_generator(small_generator(), base.path, images_trained=101)  # the same name, not the same
    with pytest.raises(CheckpointError, match=r"pair.safetensors: was tuned from"):
        load_generator(path)


def test_the_packaged_generator_is_found_under_any_name(
    base: LoadedGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "elsewhere" / "pair.safetensors"
    path.parent.mkdir()
    about = replace(origin(base), base="renamed.safetensors")
    save_adapter(Adapter(deepcopy(base.net), RANK).tensors(), path, about)
    monkeypatch.setattr("vidswap.models.apgan.checkpoint.default_checkpoint", lambda: base.path)
    assert load_generator(path).images_trained == 120
    assert default_checkpoint() != base.path


def test_an_adapter_of_another_shape_is_refused(base: LoadedGenerator, tmp_path: Path) -> None:
    path = tmp_path / "pair.safetensors"
    tensors = Adapter(deepcopy(base.net), RANK).tensors()
    save_adapter(tensors, path, replace(origin(base), config=GeneratorConfig()))
    with pytest.raises(CheckpointError, match=r"generator of another shape"):
        load_generator(path)
    foreign = {"up.4.conv.nothing.change": torch.zeros(3)}
    save_adapter(foreign, path, origin(base))
    with pytest.raises(CheckpointError, match=r"does not fit this net; tune again"):
        load_generator(path)
    wrong = {"to_rgb.bias.change": torch.zeros(5)}
    save_adapter(wrong, path, origin(base))
    with pytest.raises(CheckpointError, match=r"does not fit this net; tune again"):
        load_generator(path)


def test_an_adapter_with_damaged_metadata_is_refused(base: LoadedGenerator, tmp_path: Path) -> None:
    path = tmp_path / "pair.safetensors"
    marks = {"architecture": "apgan-adapter", "base": "base.safetensors"}
    save_file({"to_rgb.bias.change": torch.zeros(3)}, path, marks)
    with pytest.raises(CheckpointError, match=r"pair.safetensors: was tuned from"):
        load_generator(path)
    save_file({"to_rgb.bias.change": torch.zeros(3)}, path, marks | {"base_sha256": base.sha256})
    with pytest.raises(CheckpointError, match="metadata is damaged"):
        load_generator(path)


def test_a_full_disk_leaves_the_old_file(
    base: LoadedGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pair.safetensors"
    path.write_bytes(b"precious")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vidswap.models.checkpoint_file.os.fsync", full)
    with pytest.raises(DiskFullError, match=r"no space left for .*pair.safetensors"):
        save_adapter({"a.change": torch.zeros(9)}, path, origin(base))
    assert path.read_bytes() == b"precious"
    assert {p.name for p in tmp_path.iterdir()} == {"pair.safetensors", "base.safetensors"}


def test_a_kill_while_saving_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "pair.safetensors"
    path.write_bytes(b"precious")
    script = (
        "import os, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from vidswap.models.apgan import checkpoint as c\n"
        "from vidswap.models.apgan.generator import GeneratorConfig\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "about = c.AdapterOrigin('b', '0', GeneratorConfig(), 1, 1.0, '0')\n"
        "c.save_adapter({'a.change': torch.zeros(9)}, Path(sys.argv[1]), about)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"precious"
