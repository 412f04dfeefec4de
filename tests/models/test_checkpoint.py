import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.models.test_apgan import identity, pictures, small_generator
from vidswap.errors import CheckpointError
from vidswap.models.apgan.checkpoint import save_generator
from vidswap.models.apgan.generator import Generator, GeneratorConfig
from vidswap.models.apgan.stored_config import config_from_json
from vidswap.models.checkpoint import load_generator

ROOT = Path(__file__).resolve().parents[2]


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
    with pytest.raises(CheckpointError, match='"unknown"; allowed: apgan'):
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


CONFIG = small_generator().config.to_dict()


def altered(path: Path, config: object = None, **metadata: str) -> Path:
    """A small generator's checkpoint with another config, or other metadata."""
    tensors = {name: t.half().contiguous() for name, t in small_generator().state_dict().items()}
    text = config if isinstance(config, str) else json.dumps(config or CONFIG)
    save_file(tensors, path, {"architecture": "apgan", "config": text, **metadata})
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id_width": 0}, 'id_width "0"; allowed: 2 to 4096'),
        ({"id_width": 10**400}, "id_width"),
        ({"pe_width": -1}, "pe_width"),
        ({"pe_width": 8.5}, "pe_width"),
        ({"pe_blocks": "yes"}, 'pe_blocks "yes"; allowed: true, false'),
        ({"reference": 1}, "reference"),
        ({"gate": 1}, "gate"),
        ({"gate": True}, "a generator with gate needs reference"),
        ({"layer_norm": None}, "layer_norm"),
        ({"size": True}, "size"),
        ({"size": 64}, "size 64; allowed: 128, 256"),
        ({"channels": "wide"}, "channels"),
        ({"channels": [[256, 16, 3]]}, "channels"),
        ({"channels": [[256, 16]]}, "channels without one for"),
        ({"channels": [*CONFIG["channels"], [4, 7]]}, "twice"),  # type: ignore[misc]
        ({"channels": [[r, 10**9] for r, _ in CONFIG["channels"]]}, "allowed: 1 to 2048"),  # type: ignore[attr-defined]
        ({"channels": [["a", None]]}, "resolution"),
        ({"refined": 3}, "refined"),
        ({"refined": [5]}, "refined 5"),
        ({"refined": [[8]]}, "refined"),
        ({"a\x1b[2J\n": 1}, r"\x1b"),
    ],
)
def test_a_config_of_wrong_types_or_ranges_is_refused_by_name(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    path = altered(tmp_path / "net.safetensors", {**CONFIG, **changes})
    with pytest.raises(CheckpointError, match=re.escape(words)) as refused:
        load_generator(path)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


@pytest.mark.parametrize("flag", [f.name for f in fields(GeneratorConfig) if f.type == "bool"])
def test_a_config_with_any_flag_set_is_read_as_it_was_written(flag: str) -> None:
    config = replace(GeneratorConfig(), **{flag: not getattr(GeneratorConfig(), flag)})
    assert config_from_json(json.dumps(config.to_dict())) == config


@pytest.mark.parametrize("config", ["", "[", "[]", "null", "3", "[" * 60_000, "{}", '"a"'])
def test_a_config_that_is_none_is_refused(tmp_path: Path, config: str) -> None:
    with pytest.raises(CheckpointError, match="does not fit this version's generator"):
        load_generator(altered(tmp_path / "net.safetensors", config))


@pytest.mark.parametrize("count", ["many", "-1", "1.5", "nan", "9" * 5000, "", "\u0663"])
def test_images_trained_is_a_whole_number(tmp_path: Path, count: str) -> None:
    with pytest.raises(CheckpointError, match=r"images_trained is .*not a whole number"):
        load_generator(altered(tmp_path / "net.safetensors", images_trained=count))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float) -> None:
    net = small_generator()
    with torch.no_grad():
        net.to_rgb.weight[0, 0, 0, 0] = value
    path = tmp_path / "net.safetensors"
    save_generator(net, path, images_trained=1)
    with pytest.raises(CheckpointError, match=r"to_rgb.weight has values that are not finite"):
        load_generator(path)


def test_weights_that_are_large_but_finite_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    net = small_generator()
    tensors = {name: torch.full_like(t, 3e38) for name, t in net.state_dict().items()}
    metadata = {"architecture": "apgan", "config": json.dumps(CONFIG), "images_trained": "1"}
    save_file(tensors, path, metadata)
    assert load_generator(path).images_trained == 1


def test_a_net_with_spectral_norm_is_checked_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    config = replace(small_generator(128).config, spectral_norm=True)
    net = Generator(config)
    save_generator(net, path, images_trained=5)
    assert load_generator(path).images_trained == 5
    too_wide = {**config.to_dict(), "channels": [[r, 64] for r, _ in config.channels]}
    tensors = {name: t.contiguous() for name, t in net.state_dict().items()}
    save_file(tensors, path, {"architecture": "apgan", "config": json.dumps(too_wide)})
    with pytest.raises(CheckpointError, match="fewer weights than its config asks for"):
        load_generator(path)


def test_weights_that_are_no_floats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    tensors = {name: t.long() for name, t in small_generator().state_dict().items()}
    save_file(tensors, path, {"architecture": "apgan", "config": json.dumps(CONFIG)})
    with pytest.raises(CheckpointError, match="weights are floats"):
        load_generator(path)


def test_loading_does_not_import_the_compiler() -> None:
    program = (
        "import sys; from vidswap.models.checkpoint import load_generator; load_generator();"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
