"""What a stranger wrote into a plan, a record or a clip is text on every page, never markup."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest
import tomlkit
from click.testing import CliRunner

from tests.media.clips import make_clip
from tests.people.test_plan import tracks
from vidswap.batch.records import JobError, JobRecord
from vidswap.batch.report import BatchReport, ReportRow, page_html, report_as_text
from vidswap.batch.state import StateFolder, state_folder_of
from vidswap.batch.status import JobStatus
from vidswap.commands.main import main
from vidswap.people.plan import PLAN, begin_plan, read_plan
from vidswap.people.tracks import TRACKS, write_tracks
from vidswap.runtime.text import printable
from vidswap.swap.first_pass import Pictures
from vidswap.swap.look import look_options
from vidswap.swap.request import SwapRequest
from vidswap.swap.sheet import sheet_html

EVIL = "\"'><img src=x onerror=alert(1)><svg/onload=alert(2)></td></textarea><script>alert(3)//"
STEERING = "\x1b[2J\x1b[31mtrusted: yes\r\ntrusted: yes\u202e\u2028\x9b2J"
_MARKUP = re.compile(r"<(img src=x|svg/|script>alert)|onerror=alert\(1\)>", re.IGNORECASE)


def assert_plain(page: str) -> None:
    assert "alert(1)" in page  # it is told
    assert not _MARKUP.search(page.replace("&gt;", ""))


def unseen(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}


def cast_of(folder: Path, name: str) -> Path:
    folder.mkdir()
    write_tracks(tracks(), folder / TRACKS)
    document = tomlkit.parse(begin_plan(tracks()))
    document["p1"]["name"] = name  # type: ignore[index]
    (folder / PLAN).write_text(tomlkit.dumps(document))
    return folder


def test_the_sheet_of_people_has_names_as_text(tmp_path: Path) -> None:
    plan = read_plan(cast_of(tmp_path / "cast", EVIL), look_options())
    assert_plain(sheet_html(plan, Pictures({}, {})))


def test_people_prints_names_that_steer_no_terminal(tmp_path: Path) -> None:
    cast = cast_of(tmp_path / "cast", "Eve " + STEERING)
    said = CliRunner().invoke(main, ["people", str(cast)])
    assert not unseen(said.output) and "\ntrusted: yes" not in said.output


def rows(text: str) -> BatchReport:
    request = SwapRequest.of([Path(text)], Path(text + ".mp4"), Path("out.mp4"))
    record = JobRecord(
        "a-0123456789ab", 1, request.to_json(), "failed", error=JobError(4, "Broken" + text, text)
    )
    row = ReportRow(JobStatus(record, False, Path("a.log")), problem=text)
    return BatchReport(text, Path("page.html"), (row,), (text,))


def test_a_batch_report_has_messages_and_names_as_text() -> None:
    pytest.importorskip("jinja2")
    assert_plain(page_html(rows(EVIL)))
    told = printable(report_as_text(rows(STEERING)))  # as `say` prints it
    assert not unseen(told) and "\ntrusted: yes" not in told


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_batch_prints_a_strangers_record_safely(tmp_path: Path, command: str) -> None:
    manifest = tmp_path / "jobs.jsonl"
    request = SwapRequest.of([tmp_path / "a.jpg"], tmp_path / "b.mp4", tmp_path / "c.mp4")
    manifest.write_text(request.to_json() + "\n")
    folder = StateFolder(state_folder_of(manifest))
    folder.make()
    folder.write(
        JobRecord(
            "c-0123456789ab", 1, request.to_json(), "failed", host=STEERING[:40],
            error=JobError(4, "Broken", STEERING),
        )
    )  # fmt: skip
    said = CliRunner().invoke(main, ["batch", command, str(manifest)])
    assert not unseen(said.output) and "\ntrusted: yes" not in said.output


@pytest.mark.parametrize("name", [EVIL.replace("/", "_"), "a" + STEERING])
def test_names_of_files_are_printed_on_one_line(tmp_path: Path, name: str) -> None:
    clip = make_clip(tmp_path / f"{name}.mp4", frames=3, metadata={"title": STEERING})
    for arguments in (["info", str(clip)], ["verify", str(clip)], ["info", str(clip), "--json"]):
        said = CliRunner().invoke(main, arguments)
        assert not unseen(said.output) and "\ntrusted: yes" not in said.output
        if "--json" in arguments:
            json.loads(said.output)
