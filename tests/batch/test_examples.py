"""The examples for Slurm and Kubernetes, as far as they go without a cluster or an engine."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from packaging.requirements import Requirement

from vidswap.batch.shards import WHOLE, parse_shard, shard_of
from vidswap.commands.main import main
from vidswap.errors import BadOptionError
from vidswap.exit_codes import exit_codes

REPOSITORY = Path(__file__).resolve().parents[2]
SBATCH = REPOSITORY / "examples" / "slurm" / "vidswap.sbatch"
KUBERNETES = REPOSITORY / "examples" / "kubernetes"

BASE_IMAGE = 130e6  # bytes of python:3.12-slim-bookworm, unpacked, rounded up
COMPILED = 50e6  # of the modules that a swap imports; measured 46 MB
STRIPPED = 110e6  # that `strip` takes off torch and llvmlite; measured 117 MB
LARGEST_IMAGE = 1.5e9


def slurm(number: int, first: int, last: int, count: int, step: int = 1) -> dict[str, str]:
    names = ("ID", "MIN", "MAX", "COUNT", "STEP")
    values = (number, first, last, count, step)
    return {f"SLURM_ARRAY_TASK_{name}": str(v) for name, v in zip(names, values, strict=True)}


def test_shards_from_the_environment() -> None:
    assert shard_of({}) == WHOLE
    assert [shard_of(slurm(n, 0, 3, 4)) for n in range(4)] == [(n, 4) for n in range(4)]
    assert [shard_of(slurm(n, 5, 9, 3, 2)) for n in (5, 7, 9)] == [(0, 3), (1, 3), (2, 3)]
    # Tasks 3 and 7 alone are no row: every row of the manifest must still be somebody's.
    assert shard_of(slurm(7, 3, 7, 2)) == WHOLE
    assert shard_of({"JOB_COMPLETION_INDEX": "2"}) == WHOLE
    assert shard_of({"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "8"}) == (2, 8)
    assert shard_of({"JOB_COMPLETION_INDEX": "8", "JOB_COMPLETIONS": "8"}) == WHOLE
    assert shard_of({"JOB_COMPLETION_INDEX": "x", "JOB_COMPLETIONS": "8"}) == WHOLE


def test_shards_in_words() -> None:
    assert parse_shard(" 2/8 ") == (2, 8)
    for wrong in ("8/8", "1", "a/b", "-1/2", "1/0", "1/2/3", "9" * 20 + "/9"):
        with pytest.raises(BadOptionError, match="--shard"):
            parse_shard(wrong)


# Slurm


def bare_slurm(folder: Path, code: int) -> dict[str, str]:
    """Programs in the place of Slurm's and of vidswap, which note how they are called."""
    scripts = {
        "srun": 'exec "$@"',
        "vidswap": f'echo "vidswap $*" >> calls; exit {code}',
        "scontrol": 'echo "scontrol $*" >> calls',
    }
    for name, body in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    ids = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "3"}
    return os.environ | ids | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("code", [0, 41, 130])
def test_the_slurm_script_runs_its_manifest_and_queues_again_what_was_stopped(
    tmp_path: Path, code: int
) -> None:
    command = ["bash", str(SBATCH), "my jobs.jsonl", "--timeout-per-job", "60"]
    ran = subprocess.run(command, cwd=tmp_path, env=bare_slurm(tmp_path, code), check=False)
    assert ran.returncode == code
    first, *more = (tmp_path / "calls").read_text().splitlines()
    assert "batch run my jobs.jsonl" in first
    assert more == (["scontrol requeue 77_3"] if code == 130 else [])


def test_the_slurm_scripts_options_are_options() -> None:
    text = SBATCH.read_text()
    (called,) = re.findall(r"srun vidswap (.*?) \|\| code", text)
    arguments = shlex.split(called.replace('"$manifest"', "jobs.jsonl").replace('"${@:2}"', ""))
    assert parsed(arguments)["retries"] == 2
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert {"array", "mem", "time", "signal", "cpus-per-task"} <= set(asked)
    assert int(asked["mem"].rstrip("G")) > int(re.findall(r"--max-memory (\d+)G", text)[0])


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options that the command line makes of arguments, without running."""
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    return command.make_context("x", arguments).params


# Kubernetes


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load((KUBERNETES / "job.yaml").read_text())
    return found


def test_the_kubernetes_job_is_an_indexed_one_whose_pods_know_their_part(
    job: dict[str, Any],
) -> None:
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    (container,) = spec["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert all(isinstance(value, str) for value in environment.values())
    parts = [
        shard_of(environment | {"JOB_COMPLETION_INDEX": str(index)})
        for index in range(spec["completions"])
    ]
    assert parts == [(index, spec["completions"]) for index in range(spec["completions"])]


def test_the_kubernetes_job_calls_what_there_is(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options = parsed(list(container["args"]))
    assert all(isinstance(each, str) for each in container["args"])
    assert options["manifest"] == Path("/work/jobs.jsonl")
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
    assert options["max_memory"] < limit
    assert {each["name"] for each in container["volumeMounts"]} == {
        each["name"] for each in pod["volumes"]
    }
    assert pod["restartPolicy"] == "Never"  # which podFailurePolicy demands


def test_what_fails_a_pods_index_for_good_is_final(job: dict[str, Any]) -> None:
    outcomes = {each.code: each.outcome for each in exit_codes()}
    (rule,) = [r for r in job["spec"]["podFailurePolicy"]["rules"] if r["action"] == "FailIndex"]
    assert {outcomes[code] for code in rule["onExitCodes"]["values"]} == {"final"}
    assert "backoffLimitPerIndex" in job["spec"]  # without which FailIndex is refused


# The image


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (KUBERNETES / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def test_the_image_is_built_from_what_lies_in_a_checkout() -> None:
    kept = (KUBERNETES / "Dockerfile.dockerignore").read_text().split()
    for name, words in instructions():
        if name == "COPY" and "--from" not in words:
            for source in words.split()[:-1]:
                assert (REPOSITORY / source).exists() and f"!{source}" in kept
    pyproject = (REPOSITORY / "pyproject.toml").read_text()
    for needed in re.findall(r"^(?:readme|license-files) = (.*)$", pyproject, re.MULTILINE):
        for file in re.findall(r'"([^"]+)"', needed):
            assert f"!{file}" in kept


def test_the_image_runs_as_nobody_special_and_its_steps_are_shell() -> None:
    listed = instructions()
    names = [name for name, _ in listed]
    assert names.count("FROM") == 2 and "USER" in names[names.index("USER") - 5 :]
    assert json.loads(dict(listed)["ENTRYPOINT"]) == ["vidswap"]
    for name, words in listed:
        if name == "RUN":
            subprocess.run(["bash", "-n", "-c", words], check=True)
    last = [i for i, name in enumerate(names) if name == "FROM"][-1]
    for name, words in listed[last:]:
        assert not (name == "RUN" and re.search(r"apt-get|pip|curl|wget", words))


def distributions(name: str, known: dict[str, importlib.metadata.Distribution]) -> None:
    """A package and all that it needs, as installed here."""
    found = importlib.metadata.distribution(name)
    key = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    if key in known:
        return
    known[key] = found
    for line in found.requires or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            distributions(needed.name, known)


def removed() -> Iterator[str]:
    """Patterns of what the image leaves out, below site-packages."""
    steps = " ".join(words for name, words in instructions() if name == "RUN")
    (listed,) = re.findall(r"rm -rf (torch/include .*?) && find", steps)
    for path in listed.split():
        yield from (path, f"{path}/*")
    yield from ("torch/bin/[!t]*", "torch/bin/t[!o]*")  # all but torch_shm_manager
    yield "*/tests/*"
    yield "opencv_python.libs/libQt*"  # which the headless build does not have
    yield from re.findall(r"-name '(\*\.\w+)'", steps)


def packages() -> list[importlib.metadata.Distribution]:
    """What pip installs with the project."""
    known: dict[str, importlib.metadata.Distribution] = {}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        distributions(Requirement(line).name, known)
    return list(known.values())


def test_the_image_is_below_its_size() -> None:
    """By the files of the same packages here: those that the image keeps, and its base."""
    if "+cpu" not in importlib.metadata.version("torch"):
        pytest.skip("the size is that of the packages with a torch for the CPU")
    patterns, used = list(removed()), set[str]()
    own = [*(REPOSITORY / "vidswap").rglob("*"), *(REPOSITORY / "checkpoints").rglob("*")]
    kept = sum(path.stat().st_size for path in own if path.is_file())
    for found in packages():
        for file in found.files or ():
            path = str(file)
            hits = [pattern for pattern in patterns if fnmatch.fnmatch(path, pattern)]
            used.update(hits)
            if not hits and not path.endswith(".pyc"):
                full = Path(str(found.locate_file(file)))
                kept += full.stat().st_size if full.exists() else 0
    image = kept - STRIPPED + COMPILED + BASE_IMAGE
    assert image < LARGEST_IMAGE, f"{image / 1e6:.0f} MB, of which packages {kept / 1e6:.0f} MB"
    for folder in ("torch/include/*", "*/tests/*", "*.rlib"):
        assert folder in used, f"{folder} removes nothing"


def linked(file: Path, place: Path) -> None:
    """Let a file lie at another place too."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        try:
            os.link(file, place)
        except OSError:  # another disk
            shutil.copy2(file, place)


@pytest.mark.slow
def test_what_the_image_keeps_swaps_without_a_network(
    tmp_path: Path, source_picture: Path, target_clip: Path
) -> None:
    """The packages here less what the image leaves out, with no others and no network."""
    alone = ["unshare", "--net"]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no program can be run without a network here")
    site, patterns = tmp_path / "site", list(removed())
    for found in packages():
        for file in found.files or ():
            full = Path(str(found.locate_file(file))).resolve()
            if ".." in file.parts or not full.exists():
                continue
            if not any(fnmatch.fnmatch(str(file), pattern) for pattern in patterns):
                linked(full, site / file)
    # Libraries of whichever build of OpenCV lies here; the headless one has fewer.
    here = Path(str(importlib.metadata.distribution("opencv-python").locate_file("")))
    for full in here.glob("opencv*.libs/*"):
        linked(full, site / full.relative_to(here))
    shutil.copytree(REPOSITORY / "vidswap", site / "vidswap")
    shutil.copytree(REPOSITORY / "checkpoints", site / "vidswap" / "checkpoints")
    out = tmp_path / "out.mp4"
    command = [
        *alone, sys.executable, "-S", "-m", "vidswap", "run", str(source_picture),
        str(target_clip), "-o", str(out), "--end", "0.2",
    ]  # fmt: skip
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(site)}
    ran = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "5 frames, 5 faces swapped" in ran.stdout and out.exists()
