"""A training run on disk: it resumes exactly, survives what happens to disks, and can be moved."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.models.test_apgan import SMALL
from tests.training.small_dataset import small_dataset
from vidswap.commands.main import main
from vidswap.errors import (
    BadOptionError,
    CheckpointError,
    DiskFullError,
    OutputExistsError,
    TrainingConfigError,
)
from vidswap.models.apgan.discriminator import DiscriminatorConfig
from vidswap.models.apgan.generator import GeneratorConfig
from vidswap.models.checkpoint import load_generator
from vidswap.training import records as train_records
from vidswap.training.config import LossWeights, TrainConfig
from vidswap.training.data.face_shards import read_index
from vidswap.training.export import export_generator
from vidswap.training.pair_batch import PairConfig
from vidswap.training.parts import export_state, import_state, pack_training
from vidswap.training.records import RunFolder, read_start, read_state
from vidswap.training.run import TrainJob, read_faces, train

ROOT = Path(__file__).resolve().parents[2]
TINY = TrainConfig(
    generator=GeneratorConfig(size=128, channels=SMALL, id_width=32),
    discriminator=DiscriminatorConfig(widths=(8, 8, 8)),
    pairs=PairConfig(size=128, batch=4),
    weights=LossWeights(identity_mobilefacenet=0.0),
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_dataset(tmp_path_factory.mktemp("training") / "faces")


@pytest.fixture(scope="module")
def finished(faces: Path) -> TrainJob:
    """A run of three steps."""
    job = TrainJob(TINY, faces, faces.parent / "finished", cache=faces.parent / "cache", images=12)
    train(job)
    return job


def test_a_run_leaves_its_state_its_configuration_and_a_checkpoint_that_loads(
    finished: TrainJob, tmp_path: Path
) -> None:
    assert read_state(finished.run / "state.pt")["images"] == 12
    assert json.loads((finished.run / "config.json").read_text())["pairs"]["batch"] == 4
    assert export_generator(finished.run, tmp_path / "a.safetensors") == 12
    loaded = load_generator(tmp_path / "a.safetensors")
    assert loaded.images_trained == 12 and loaded.size == 128


def test_a_run_with_spectral_normalisation_is_exported_without_it(
    faces: Path, tmp_path: Path
) -> None:
    config = replace(TINY, generator=replace(TINY.generator, spectral_norm=True))
    train(TrainJob(config, faces, tmp_path / "run", cache=faces.parent / "cache", images=4))
    export_generator(tmp_path / "run", tmp_path / "a.safetensors")
    loaded = load_generator(tmp_path / "a.safetensors")
    assert not loaded.net.config.spectral_norm and loaded.net.config.size == 128


def test_two_halves_of_a_run_are_the_whole_run(finished: TrainJob, tmp_path: Path) -> None:
    job = replace(finished, run=tmp_path / "halves")
    train(replace(job, images=4))
    assert train(replace(job, resume=True)).images == 12
    whole, halves = (read_state(run / "state.pt") for run in (finished.run, job.run))
    for net in ("generator", "average", "discriminator"):
        for name, tensor in whole[net].items():
            assert torch.equal(tensor, halves[net][name]), f"{net} {name}"


def test_a_run_starts_from_an_exported_checkpoint(finished: TrainJob, tmp_path: Path) -> None:
    exported = tmp_path / "exported.safetensors"
    export_generator(finished.run, exported)
    state = read_start(exported)
    assert "discriminator" not in state and (state["images"], state["steps"]) == (12, 0)
    config = replace(
        TINY,
        generator=replace(TINY.generator, reference=True, gate=True),
        warm_discriminator_images=4,
    )
    job = replace(finished, config=config, run=tmp_path / "new", start_from=exported, images=16)
    result = train(job)
    assert (result.images, result.steps) == (16, 2)
    new = read_state(job.run / "state.pt")
    assert new["warmed"] == 4 and new["generator"].keys() > state["generator"].keys()
    # One small step away from the exported weights, which are in fp16.
    name = "up.16.conv.weight"
    torch.testing.assert_close(new["generator"][name], state["generator"][name], atol=3e-4, rtol=0)
    export_generator(job.run, exported)
    assert load_generator(exported).net.config.gate


def test_excluded_pictures_are_never_drawn(finished: TrainJob, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    shutil.copytree(finished.faces, faces)
    rows = read_faces(replace(finished, faces=faces)).sampler.rows
    listed = [read_index(faces)[row].file for row in rows[:2]]
    (faces / "exclude.txt").write_text("\n".join([*listed, "", "unknown.webp"]))
    left = read_faces(replace(finished, faces=faces)).sampler.rows
    assert left.tolist() == rows[2:].tolist()


def test_a_run_is_not_begun_over_by_mistake(finished: TrainJob) -> None:
    with pytest.raises(OutputExistsError, match="12 images; give --resume"):
        train(finished)


def test_a_damaged_state_is_named(finished: TrainJob, tmp_path: Path) -> None:
    job = replace(finished, run=tmp_path / "damaged", resume=True)
    job.run.mkdir()
    whole = (finished.run / "state.pt").read_bytes()
    (job.run / "state.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        train(job)


def test_a_state_of_another_architecture_is_refused(finished: TrainJob) -> None:
    wider = replace(TINY, generator=replace(TINY.generator, id_width=48))
    with pytest.raises(CheckpointError, match="another architecture"):
        train(replace(finished, config=wider, resume=True))


def test_a_weight_on_an_encoder_that_is_not_given_is_refused(finished: TrainJob) -> None:
    weights = replace(TINY.weights, identity_mobilefacenet=4.0)
    with pytest.raises(TrainingConfigError, match="--second-encoder"):
        train(replace(finished, config=replace(TINY, weights=weights), resume=True))


def test_a_full_disk_leaves_the_last_state(
    finished: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(finished, run=tmp_path / "full", images=4)
    train(job)
    before = (job.run / "state.pt").read_bytes()

    def no_room(_state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(train_records.torch, "save", no_room)
    with pytest.raises(DiskFullError, match="the one before it is kept"):
        train(replace(job, resume=True, images=8))
    assert (job.run / "state.pt").read_bytes() == before
    assert not (job.run / "state.part").exists()


_KILLED_WHILE_SAVING = """
import os, signal, sys, torch
from pathlib import Path
from vidswap.training.records import RunFolder

class Trainer:
    def state(self):
        return {"images": 99}

def half_a_write(state, file):
    file.write(b"half of a state")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

torch.save = half_a_write
RunFolder(Path(sys.argv[1])).save_state(Trainer())
"""


def test_a_kill_while_saving_leaves_the_last_state(finished: TrainJob, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "killed")
    run.state_path.write_bytes((finished.run / "state.pt").read_bytes())
    command = [sys.executable, "-c", _KILLED_WHILE_SAVING, str(run.path)]
    killed = subprocess.run(command, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    state = run.read_state()
    assert state is not None and state["images"] == 12


def test_parts_carry_a_run_to_another_folder(finished: TrainJob, tmp_path: Path) -> None:
    parts = export_state(finished.run, tmp_path / "parts", part_mib=0.25)
    assert len(parts) > 1 and all(p.stat().st_size <= 0.25 * 2**20 for p in parts)
    assert import_state(tmp_path / "parts", tmp_path / "run") == 12
    there, here = read_state(tmp_path / "run/state.pt"), read_state(finished.run / "state.pt")
    for name, tensor in here["generator"].items():
        torch.testing.assert_close(there["generator"][name], tensor, rtol=1e-3, atol=1e-4)
    assert train(replace(finished, run=tmp_path / "run", resume=True, images=16)).images == 16


def test_a_damaged_or_missing_part_keeps_the_runs_own_state(
    finished: TrainJob, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "state.pt").write_bytes(b"own")
    parts = export_state(finished.run, tmp_path / "parts", part_mib=0.25)
    parts[0].write_bytes(parts[0].read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="damaged"):
        import_state(tmp_path / "parts", run)
    parts[0].unlink()
    with pytest.raises(CheckpointError, match="no complete export"):
        import_state(tmp_path / "parts", run)
    assert (run / "state.pt").read_bytes() == b"own"


def test_packs_hold_everything_once_within_their_size(finished: TrainJob, tmp_path: Path) -> None:
    packs = pack_training(finished.faces, finished.run, None, tmp_path, pack_mib=24.0)
    names = [str(p.relative_to(pack)) for pack in packs for p in pack.rglob("*") if p.is_file()]
    assert len(names) == len(set(names))
    expected = {
        "config.json", "weights/parts.json", "faces/index.csv", "faces/landmarks.npz",
        "faces/faces-00.zip", "faces/faces-01.zip", "site/click/__init__.py",
    }  # fmt: skip
    assert expected <= set(names)
    for pack in packs:
        assert sum(p.stat().st_size for p in pack.rglob("*") if p.is_file()) <= 24.0 * 2**20
    with pytest.raises(BadOptionError, match="raise --pack-mib"):
        pack_training(finished.faces, finished.run, None, tmp_path / "small", pack_mib=1.0)


@pytest.mark.slow
def test_a_piece_elsewhere_trains_on_and_brings_its_weights_back(
    finished: TrainJob, tmp_path: Path
) -> None:
    pack_training(finished.faces, finished.run, None, tmp_path / "packs")
    out = tmp_path / "out"
    out.mkdir()
    environment = {**os.environ, "OUT": str(out), "PYTHON": sys.executable}
    for expected in (12, None):  # the second piece goes on where the first stopped
        subprocess.run(
            ["pipelines/remote_training/train_piece.sh", str(tmp_path / "packs"), "0.3"],
            cwd=ROOT, env=environment, check=True,
        )  # fmt: skip
        images = import_state(out, tmp_path / "home")
        assert images > (expected or images - 1)
    assert max(p.stat().st_size for p in out.iterdir()) <= 15 * 2**20


def test_the_command_names_an_unknown_setting(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"weights": {"identiti": 3}}')
    command = ["train", "apgan", "--faces", str(faces), "--run", str(tmp_path), "--config"]
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # the command would restart this process
    result = CliRunner().invoke(main, [*command, str(config)])
    assert result.exit_code == TrainingConfigError.exit_code
    assert "weights.identiti is no setting" in result.output and "identity_dlib" in result.output


def test_a_run_goes_on_where_no_curves_can_be_drawn(
    finished: TrainJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("vidswap.training.run.SHEET_STEPS", 1)
    monkeypatch.setattr("vidswap.training.run.LOG_STEPS", 1)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # as where it is not installed
    assert train(replace(finished, run=tmp_path / "plain", images=8)).images == 8
    assert "loss curves need matplotlib" in caplog.text


def test_loss_curves_are_drawn(tmp_path: Path) -> None:
    lines = [{"images": float(i), "style": 1.0 / i, "adversarial": 0.1 * i} for i in range(1, 40)]
    train_records.draw_curves(lines, tmp_path / "curves.png")
    picture = train_records.cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None and picture.shape[1] > 500
    assert np.unique(picture).size > 20
