"""`vidswap batch ...` from the command line, with two tiny clips that are really swapped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.batch.fakes import fakes, manifest_of
from vidswap.batch import run as run_module
from vidswap.batch.report import Measured, _kept, page_html, report_as_text, report_batch
from vidswap.batch.run import BatchOptions
from vidswap.batch.status import status_of
from vidswap.commands.main import main
from vidswap.media.probing import probe
from vidswap.provenance.verify import verify_file
from vidswap.version import __version__

REPOSITORY = Path(__file__).resolve().parents[2]


def vidswap(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def with_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = run_module.run_batch
    monkeypatch.setattr(
        run_module, "run_batch", lambda manifest, options, notify: real(
            manifest, options, notify, fakes)
    )  # fmt: skip


@pytest.mark.slow
def test_two_clips_from_plan_to_page(
    tmp_path: Path, source_picture: Path, target_clip: Path, faceless_clip: Path, untrained: Path
) -> None:
    planned = vidswap(
        "batch", "plan", source_picture, "--targets", target_clip, "--targets", faceless_clip,
        "-o", f"{tmp_path}/out/{{target}}__{{source}}{{ext}}", "--checkpoint", untrained,
        "--end", 0.2, "--no-provenance", "a test",
    )  # fmt: skip
    assert planned.exit_code == 0, planned.stderr
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(planned.stdout)
    command = [sys.executable, "-m", "vidswap", "batch", "run", str(manifest)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert "2 jobs: 2 done" in ran.stdout
    assert "vidswap: line 1: " in ran.stderr and "5 frames in" in ran.stderr
    assert "warning: " in ran.stderr and "no face found" in ran.stderr
    swapped = tmp_path / "out" / "hopper__astronaut.mp4"
    assert probe(swapped).frames == 5 and verify_file(swapped).exit_code == 0
    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert "2 jobs: 2 done; 2 of them before this run" in again.stdout

    page = tmp_path / "report.html"
    found = report_batch(manifest, page, ["cosine_to_source>=2"])
    text = page.read_text()
    assert "hopper__astronaut.mp4" in text
    assert f'href="report_files/{found.rows[0].job.record.id}.html"' in text
    assert found.broken and "cosine_to_source >= 2 is broken" in found.broken[0]
    for row in found.rows:
        assert row.measured and (tmp_path / row.page).exists()
        kept = (tmp_path / row.page).with_suffix(".json")
        sha256 = json.loads(kept.read_text())["output"]
        assert _kept(kept, sha256) == row.measured and _kept(kept, "other") is None


def test_some_failed_is_an_exit_code_of_its_own(tmp_path: Path, with_fakes: None) -> None:
    manifest = manifest_of(tmp_path, ["good-1", "faceless-1", "good-2"])
    result = vidswap("batch", "run", manifest)
    assert result.exit_code == 41
    assert "3 jobs: 2 done, 1 failed" in result.stdout
    assert "1 of 3 jobs failed (line 2)" in result.stderr
    assert "exit code 5: no usable face" in result.stderr
    assert vidswap("batch", "run", manifest).exit_code == 41  # what failed is not done again
    assert "1 jobs queued" in vidswap("batch", "retry", manifest).stdout


def test_events_come_as_json_lines(tmp_path: Path, with_fakes: None) -> None:
    result = vidswap("batch", "run", manifest_of(tmp_path, ["good-1", "slow-1"]), "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["event"] for each in events if each["event"] != "progress"] == [
        "began", "done", "began", "done", "end"
    ]  # fmt: skip
    assert events[-1] == {
        "event": "end", "queued": 0, "running": 0, "done": 2, "failed": 0, "cancelled": 0,
        "skipped": 0,
    }  # fmt: skip


def test_status_as_table_and_json(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, ["good-1", "damaged-1"])
    before = vidswap("batch", "status", manifest).stdout
    assert "2 jobs: 2 queued" in before
    run_module.run_batch(manifest, BatchOptions(), make_runner=fakes)
    table = vidswap("batch", "status", manifest).stdout.splitlines()
    assert table[0].split() == ["line", "state", "frames", "time", "host", "output"]
    assert table[1].split()[:3] == ["1", "done", "10/10"]
    assert table[3].strip() == "4: no frame can be decoded"
    told = json.loads(vidswap("batch", "status", manifest, "--json").stdout)
    assert told["counts"]["done"] == told["counts"]["failed"] == 1
    assert told["jobs"][1]["error"]["exit_code"] == 4
    assert told["jobs"][0]["request"]["target"].endswith("good-1.mp4")
    watched = vidswap("batch", "status", manifest, "--watch")  # all is finished: shown once
    assert watched.stdout == "2 jobs: 1 done, 1 failed\n"


def test_the_manifests_own_errors_have_their_code(tmp_path: Path) -> None:
    bad = tmp_path / "jobs.jsonl"
    bad.write_text("{}\n")
    for command in ("run", "status", "retry", "cancel"):
        result = vidswap("batch", command, bad)
        assert result.exit_code == 40 and "line 1" in result.stderr, command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shard", "4/4"], "--shard"), (["--shard", "x"], "--shard"), (["--gpus", "a"], "--gpus"),
        (["--jobs", "0"], "--jobs 0"), (["--timeout-per-job", "0"], "--timeout-per-job"),
        (["--retries", "-1"], "--retries"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_by_name(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = vidswap("batch", "run", manifest_of(tmp_path, ["good-1"]), *arguments)
    assert result.exit_code == 2 and told in result.stderr


def test_the_page_puts_the_worst_first_and_escapes_what_it_shows(tmp_path: Path) -> None:
    names = ["good-1", "good-2", "good-<b>3", "faceless-1"]
    manifest = manifest_of(tmp_path, names)
    run_module.run_batch(manifest, BatchOptions(), make_runner=fakes)
    page = tmp_path / "report.html"
    folder = tmp_path / "report_files"
    folder.mkdir()
    for job, state, used in zip(
        status_of(manifest), ("pass", "fail", "fail"), (0.5, 1.5, 3.0), strict=False
    ):
        measured = Measured(state, "Head", f"Sentence {used}", used, {"seam": used}, ())
        kept = asdict(measured) | {
            "version": __version__,
            "output": job.record.result["file"]["sha256"],
        }
        (folder / f"{job.record.id}.json").write_text(json.dumps(kept))
        (folder / f"{job.record.id}.html").touch()
    found = report_batch(manifest, page, ["seam<=2"])
    assert [row.job.record.line for row in found.rows] == [4, 3, 2, 1]
    assert found.broken == ("line 4: no result: failed", "line 3: seam <= 2 is broken: 3.0")
    text = page_html(found)
    assert "<b>3" not in text and "&lt;b&gt;3" in text
    assert "no usable face" in report_as_text(found)
