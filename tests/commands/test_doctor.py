"""`vidswap doctor`: what is here, what is missing, and how to fix it."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from vidswap import doctor
from vidswap.commands.main import main
from vidswap.doctor import Finding, examine, findings_as_text, is_broken
from vidswap.errors import MissingLibraryError
from vidswap.faces import occlusion
from vidswap.media.codecs import CODECS, VideoCodec
from vidswap.models.checkpoint import default_checkpoint
from vidswap.provenance.signing_key import local_signing_key

ROOT = Path(__file__).resolve().parents[2]


def test_every_part_is_named_where_all_is_well() -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["broken"] is False
    names = {check["name"] for check in report["checks"]}
    assert names >= {
        "python", "system libraries", "packages", "ffmpeg", "PyAV", "encoders", "CUDA", "memory",
        "disk", "generator", "face nets", "identity net", "occlusion net",
        "C2PA library", "signing key",
    }  # fmt: skip


def test_text_has_a_line_a_finding_with_its_mend() -> None:
    found = [Finding("disk", "ok", "9 GiB free"), Finding("nets", "broken", "none", "get some")]
    first, second, last = findings_as_text(found).splitlines()
    assert first.split() == ["ok", "disk", "9", "GiB", "free"]
    assert second.startswith("broken  nets") and second.endswith("none; get some")
    assert last == "1 broken"


def test_a_missing_package_is_broken_and_an_optional_one_a_note() -> None:
    needed, optional = doctor.check_packages(
        ["torch", "no-such-package"], {"no-such-extra": ("colour", "pip install no-such-extra")}
    )
    assert needed.state == "broken" and "no-such-package" in needed.found
    assert "torch" not in needed.found and "pip install" in needed.fix
    assert optional == Finding(
        "no-such-extra", "note", "not installed; only colour needs it", "pip install no-such-extra"
    )


def test_the_packages_checked_are_the_ones_that_are_installed_and_the_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(doctor.NEEDED) == set(map(distribution, project["dependencies"]))
    extras = {
        distribution(requirement): f"pip install 'vidswap[{extra}]'"
        for extra, requirements in project["optional-dependencies"].items()
        for requirement in requirements
    }
    for name, (_, fix) in doctor.OPTIONAL.items():
        assert extras[name] == fix


def distribution(requirement: str) -> str:
    """The name alone: "av>=18.1,<19" -> "av"."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def test_a_missing_system_library_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingLibraryError("OpenCV needs libGL.so.1; on Debian: apt-get install libgl1")

    monkeypatch.setattr("vidswap.faces.system_libraries.check_system_libraries", missing)
    (finding,) = doctor.check_system()
    assert finding.state == "broken"
    assert finding.fix == "on Debian: apt-get install libgl1"
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1, "the command itself must not stop at what it looks for"
    assert "apt-get install libgl1" in result.stdout and "1 broken" in result.stdout


def test_a_check_that_fails_hides_no_other() -> None:
    def fails() -> Iterator[Finding]:
        raise ImportError("libGL.so.1: cannot open shared object file")
        yield

    def works() -> Iterator[Finding]:
        yield Finding("disk", "ok", "9 GiB")

    broken, fine = examine([("encoders", fails), ("disk", works)])
    assert (broken.name, broken.state) == ("encoders", "broken")
    assert "libGL.so.1" in broken.found and "system libraries" in broken.fix
    assert fine.state == "ok" and is_broken([broken, fine]) and not is_broken([fine])


@pytest.mark.parametrize(("codec", "state"), [("h264", "broken"), ("prores", "note")])
def test_a_missing_encoder(monkeypatch: pytest.MonkeyPatch, codec: str, state: str) -> None:
    absent = VideoCodec("libnothing", None, None)
    monkeypatch.setattr("vidswap.media.codecs.CODECS", {**CODECS, codec: absent})
    _, missing, present, hardware = doctor.check_codecs()
    assert (missing.state, missing.found) == (state, f"missing: {codec}")
    assert codec not in present.found.split(", ") and "ffv1" in present.found
    assert hardware.name == "hardware encoders"


def test_ffmpeg_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidswap.media.ffmpeg.ffmpeg_executable", lambda: str(tmp_path / "none"))
    (finding,) = doctor.check_ffmpeg()
    assert finding.state == "broken" and "imageio-ffmpeg" in finding.fix


def test_without_cuda_it_says_that_the_cpu_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("vidswap.runtime.devices._is_offered", lambda kind: False)
    (finding,) = doctor.check_gpus()
    assert finding.state == "ok" and "no MPS, no XPU: runs on the CPU" in finding.found


def test_a_gpu_that_is_only_used_on_request_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidswap.runtime.devices._is_offered", lambda kind: kind == "mps")
    monkeypatch.setattr("vidswap.runtime.devices.device_memory", lambda device: 2**34)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    mps, cuda = doctor.check_gpus()
    assert (mps.name, mps.found) == ("MPS", "Apple GPU, 16 GiB; used with --device mps")
    assert cuda.found.startswith("no CUDA") and "no XPU" not in cuda.found


def test_the_packaged_checkpoint_is_whole() -> None:
    (finding,) = doctor.check_checkpoint()
    assert finding.state == "ok" and default_checkpoint().name in finding.found


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: b"not weights", "cannot be read"),
        (lambda content: b"", "cannot be read"),
        (lambda content: content[:-1000], "is cut short"),
        (lambda content: content.replace(b'"apgan"', b'"other"', 1), 'holds "other"'),
    ],
)
def test_a_damaged_checkpoint(untrained: Path, tmp_path: Path, spoil: object, words: str) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(spoil(untrained.read_bytes()))  # type: ignore[operator]
    (finding,) = doctor.check_checkpoint(path)
    assert finding.state == "broken" and words in finding.found and finding.fix


def test_a_missing_checkpoint_says_where_it_belongs(tmp_path: Path) -> None:
    (finding,) = doctor.check_checkpoint(tmp_path / "none.safetensors")
    assert finding.state == "broken" and str(tmp_path / "none.safetensors") in finding.fix


def test_missing_nets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = doctor.check_face_nets()
    assert all(finding.state == "ok" for finding in whole)
    weights = occlusion.WEIGHTS.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(weights[:-100])
    (tmp_path / "foreign.safetensors").write_bytes(b"not weights")
    monkeypatch.setattr("vidswap.faces.nets.loading.FOLDER", tmp_path)
    monkeypatch.setattr("vidswap.identity.dlib_resnet.WEIGHTS", tmp_path / "cut.safetensors")
    monkeypatch.setattr("vidswap.faces.occlusion.WEIGHTS", tmp_path / "foreign.safetensors")
    faces, identity, hidden = doctor.check_face_nets()
    assert faces.state == "broken" and str(tmp_path / "attention_mesh.safetensors") in faces.found
    assert (identity.state, identity.found) == ("broken", "cut.safetensors is cut short")
    assert hidden.state == "broken" and "cannot be read" in hidden.found


def test_any_build_of_opencv_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    headless = "opencv-python-headless"
    monkeypatch.setattr(doctor, "_version", lambda name: "4" if name == headless else None)
    (missing, *_) = doctor.check_packages(["opencv-python", "av"], {})
    assert missing.found == "not installed: av"


def test_little_disk_or_memory_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_DISK_GIB", 1e9)
    monkeypatch.setattr(doctor, "MIN_MEMORY_GIB", 1e9)
    (disk,), (memory,) = doctor.check_disk(tmp_path), doctor.check_memory()
    assert (disk.state, memory.state) == ("note", "note") and disk.fix and memory.fix


def test_the_signing_key_is_looked_at_and_never_made(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    *_, none = doctor.check_signing_key(path)
    assert none.state == "ok" and not path.exists()
    local_signing_key(path)
    *_, own = doctor.check_signing_key(path)
    assert own.state == "ok"
    path.chmod(0o644)
    *_, open_to_all = doctor.check_signing_key(path)
    assert (open_to_all.state, open_to_all.fix) == ("note", f"chmod 600 {path}")
    path.write_text("rubbish")
    *_, damaged = doctor.check_signing_key(path)
    assert damaged.state == "broken" and "remove" in damaged.fix


def test_another_python_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHONS", ((2, 7),))
    (finding,) = doctor.check_python()
    assert finding.state == "broken" and "3.11" in finding.fix
    assert finding.found.startswith(f"{sys.version_info[0]}.")
