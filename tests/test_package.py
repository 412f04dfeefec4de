"""The wheel: what is in it, and that it swaps beside modules with this checkout's names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vidswap.animation.clip import load_portrait, make_clip, portrait_path
from vidswap.animation.motion import talking
from vidswap.version import __version__

ROOT = Path(__file__).resolve().parents[1]
BUILT_FROM = ("vidswap", "checkpoints", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
FRAMES = 4


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name)
        else:
            shutil.copy(ROOT / name, checkout / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(checkout))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds the wheel's content alone."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--target", str(folder), str(wheel))
    return folder


def pip(command: str, *arguments: str) -> None:
    options = ["--disable-pip-version-check", "--no-input", "--quiet"]
    run([sys.executable, "-m", "pip", command, *options, *arguments])


def run(command: list[str], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    output: str = done.stdout
    return output


def test_the_wheel_holds_one_package_and_everything_a_swap_reads(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "vidswap",
        f"vidswap-{__version__}.dist-info",
    }
    for needed in (
        "vidswap/checkpoints/apgan-256.safetensors",
        "vidswap/checkpoints/context-128.safetensors",
        "vidswap/checkpoints/idgan-128.safetensors",
        "vidswap/checkpoints/judge-64.safetensors",
        "vidswap/checkpoints/latent-64.safetensors",
        "vidswap/checkpoints/swapinpaint.safetensors",
        "vidswap/checkpoints/README.md",
        "vidswap/animation/portraits/clara.jpg",
        "vidswap/animation/portraits/README.md",
        "vidswap/evaluation/held-out-pairs.csv",
        "vidswap/faces/canonical_mesh.npy",
        "vidswap/faces/occlusion.safetensors",
        "vidswap/training/expression.safetensors",
        "vidswap/py.typed",
        "vidswap/web/static/app.js",
        "vidswap/web/templates/page.html.j2",
        f"vidswap-{__version__}.dist-info/licenses/LICENSE",
        f"vidswap-{__version__}.dist-info/licenses/NOTICE",
    ):
        assert needed in names
    templates = {path.name for path in (ROOT / "vidswap" / "report" / "templates").iterdir()}
    assert templates <= {Path(name).name for name in names if "report/templates" in name}
    assert not [name for name in names if "tests" in name or "pipelines" in name or ".pyc" in name]


def test_an_installed_vidswap_swaps_beside_foreign_modules(installed: Path, tmp_path: Path) -> None:
    foreign = "raise ImportError('another project')"
    (tmp_path / "cli.py").write_text(foreign)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text(foreign)
    target = tmp_path / "target.mp4"
    make_clip(target, load_portrait("nora"), talking, FRAMES / 25, size=(256, 192))
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    where = [sys.executable, "-c", "import vidswap, vidswap.swap.job; print(vidswap.__file__)"]
    assert Path(run(where, cwd=tmp_path, env=environment).strip()).is_relative_to(installed)
    source = str(portrait_path("clara"))
    swap = [sys.executable, "-m", "vidswap", "run", source, "target.mp4", "-o", "out.mp4", "--json"]
    result = json.loads(run(swap, cwd=tmp_path, env=environment))
    assert result["faces_swapped"] == FRAMES and (tmp_path / "out.mp4").is_file()
