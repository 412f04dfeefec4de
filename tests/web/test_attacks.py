"""Every rule that keeps other pages, other people and bad files out, attacked."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.web.serving import Served, serving
from vidswap.batch.manifest import Job
from vidswap.runtime.text import shown
from vidswap.swap.request import SwapRequest
from vidswap.web.app import MOST_BODY

LIMIT = 10_000  # bytes of an upload


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page may use and, beside it, what it must not."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("shots", "secret", "shots/inner"):
        (folder / name).mkdir()
    (folder / "secret" / "diary.mp4").write_bytes(b"private")
    (folder / "shots" / "a.jpg").write_bytes(b"a picture")
    (folder / "shots" / ".hidden.jpg").write_bytes(b"hidden")
    (folder / "shots" / "notes.txt").write_bytes(b"text")
    (folder / "shots" / "way-out").symlink_to(folder / "secret")
    (folder / "shots" / "out.mp4").symlink_to(folder / "secret" / "diary.mp4")
    (folder / "shots" / "<img src=x onerror=alert(1)>.jpg").write_bytes(b"named to be run")
    return folder


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    with serving(None, [home / "shots"], home / "work", max_upload=LIMIT) as running:
        yield running


# Who may ask


@pytest.mark.parametrize("path", ["", "static/app.js", "state", "files", "jobs"])
@pytest.mark.parametrize("token", ["", "guess", "%00", "%C3%A9"])
def test_nothing_is_answered_without_the_token(served: Served, path: str, token: str) -> None:
    answer = served.ask(path, token=token)
    assert answer.status == 403 and "token" in answer.error
    assert served.token.encode() not in answer.content


def test_the_token_is_long_and_new_every_time(served: Served, tmp_path: Path) -> None:
    with serving(None, [tmp_path], tmp_path / "work") as other:
        assert len(served.token) >= 32 and served.token != other.token


def test_it_listens_on_this_computer_alone(served: Served) -> None:
    bound = served.server._listening.getsockname()
    assert bound[0] == "127.0.0.1"
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", bound[1]), timeout=2):
        pass


@pytest.mark.parametrize(
    "hosts",
    [
        ["evil.example"], ["evil.example:{port}"], ["127.0.0.1"], ["127.0.0.1:1"],
        ["127.0.0.1:{port}.evil.example"], [], ["127.0.0.1:{port}", "evil.example"],
    ],
)  # fmt: skip
def test_a_name_that_was_rebound_to_this_computer_is_refused(
    served: Served, hosts: list[str]
) -> None:
    port = served.host.partition(":")[2]
    headers = [("Host", host.format(port=port)) for host in hosts]
    answer = served.ask("state", headers=headers)
    assert answer.status in (400, 403)  # 400: uvicorn's own, where there is none or are two


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "https://{host}", "http://127.0.0.1:1", "http://{host}."],
)
@pytest.mark.parametrize(
    ("path", "method"),
    [("jobs", "POST"), ("upload?name=a.jpg", "PUT"), ("open", "POST"), ("session", "PUT")],
)
def test_another_page_cannot_write(
    served: Served, origin: str | None, path: str, method: str
) -> None:
    headers = [("Host", served.host)]
    if origin is not None:
        headers.append(("Origin", origin.format(host=served.host)))
    answer = served.ask(path, {}, method=method, headers=headers)
    assert answer.status == 403 and "page itself" in answer.error
    assert list(served.site.uploads.iterdir()) == []


def test_a_form_of_another_site_cannot_write_though_it_knew_the_token(served: Served) -> None:
    own = [("Host", served.host), ("Origin", f"http://{served.host}")]
    for site in ("cross-site", "same-site", "none"):
        answer = served.ask("open", {}, headers=[*own, ("Sec-Fetch-Site", site)])
        assert answer.status == 403


@pytest.mark.parametrize("path", ["open", "look", "command", "jobs/a-0/cancel", "upload"])
def test_what_writes_cannot_be_asked_for_by_a_link(served: Served, path: str) -> None:
    assert served.ask(path).status in (404, 405)


def test_the_page_runs_no_script_but_its_own(served: Served) -> None:
    answer = served.ask("")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
    text = answer.content.decode()
    assert "<script>" not in text and "<style" not in text and " style=" not in text
    assert " on" + "click=" not in text and "http://" not in text and "https://" not in text
    for name in ("cross-origin-resource-policy", "cross-origin-opener-policy"):
        assert answer.headers[name] == "same-origin"
    assert answer.headers["referrer-policy"] == "no-referrer"  # the address holds the token
    assert answer.headers["cache-control"] == "no-store"


def test_what_the_page_loads_comes_from_the_package(served: Served) -> None:
    for name in ("app.js", "stage.js", "app.css"):
        text = served.ask(f"static/{name}").content.decode()
        assert len(text) > 1000 and "://" not in text and "innerHTML" not in text


@pytest.mark.parametrize(
    "name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "%2Fetc%2Fpasswd", ".", ""]
)
def test_static_files_are_the_three_alone(served: Served, name: str) -> None:
    answer = served.ask(f"static/{name}")
    assert (
        answer.status == 404 and b"import" not in answer.content and b"root:" not in answer.content
    )


# What may be read and written


def outside(home: Path) -> list[str]:
    shots = home / "shots"
    return [
        "/etc/passwd", str(home / "secret" / "diary.mp4"), f"{shots}/../secret/diary.mp4",
        f"{shots}/inner/../../secret/diary.mp4", f"{shots}/way-out/diary.mp4", f"{shots}/out.mp4",
        f"{shots}/way-out", str(home), "/", f"{home}/shots-of-another", "/proc/self/environ",
    ]  # fmt: skip


@pytest.mark.parametrize("n", range(11))
def test_no_path_leads_out_of_the_folders(served: Served, home: Path, n: int) -> None:
    path = outside(home)[n]
    assert len(outside(home)) == 11
    coded = path.replace("/", "%2F")
    for answer in (
        served.ask(f"files?path={coded}"), served.ask(f"frame?path={coded}&n=0"),
        served.ask(f"thumbnail?path={coded}"), served.ask(f"strip?path={coded}"),
        served.ask(f"batch?path={coded}"), served.ask("open", {"path": path}),
    ):  # fmt: skip
        assert answer.status == 403, answer.content
        assert shown(path) in answer.error and "--root" in answer.error
        assert b"private" not in answer.content


@pytest.mark.parametrize("path", ["", "a.jpg", "./a.jpg", "~/a.jpg", "\0", "/a\0b", 7, None, ["/"]])
def test_what_is_no_full_path_is_refused(served: Served, path: object) -> None:
    answer = served.ask("open", {"path": path})
    assert answer.status == 400 and "path" in answer.error


def asked(home: Path, **changes: object) -> dict[str, object]:
    shots = home / "shots"
    return {
        "sources": [str(shots / "a.jpg")], "target": str(shots / "a.jpg"),
        "output": str(shots / "result.png"), "options": {},
    } | changes  # fmt: skip


@pytest.mark.parametrize("where", ["sources", "target", "output"])
@pytest.mark.parametrize("n", range(3))
def test_no_swap_reads_or_writes_outside(served: Served, home: Path, where: str, n: int) -> None:
    path = outside(home)[n] if where != "output" else f"{home}/{('x.png', 'secret/x.png', '..')[n]}"
    given = asked(home, **{where: [path] if where == "sources" else path})
    for question in ("command", "jobs", "look"):
        answer = served.ask(question, given | {"number": 0})
        assert answer.status == 403, answer.content
    assert served.ask("jobs").told["jobs"] == []


@pytest.mark.parametrize("name", ["checkpoint", "face", "source_face"])
def test_no_option_names_a_file_outside(served: Served, home: Path, name: str) -> None:
    answer = served.ask("command", asked(home, options={name: "/etc/passwd"}))
    assert answer.status == 403 and "/etc/passwd" in answer.error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sign_key", "/etc/passwd"), ("no_provenance", "none of your business"),
        ("hwaccel", "vaapi:/dev/dri/renderD128"), ("segment_frames", 1), ("device", "cuda"),
        ("__class__", 1), ("detector", "face-alignment"),
    ],
)  # fmt: skip
def test_only_the_options_of_the_form_can_be_set(
    served: Served, home: Path, name: str, value: object
) -> None:
    answer = served.ask("command", asked(home, options={name: value}))
    assert answer.status == 400 and name in answer.error and "allowed" in answer.error


def test_a_listing_shows_what_can_be_used_and_nothing_else(served: Served, home: Path) -> None:
    told = served.ask(f"files?path={home}/shots").told
    names = [entry["name"] for entry in told["entries"]]
    assert names == ["inner", "<img src=x onerror=alert(1)>.jpg", "a.jpg"]
    assert told["above"] == ""
    top = [entry["path"] for entry in served.ask("files").told["entries"]]
    assert top == [str(home / "shots"), str(home / "work")]


def test_a_job_whose_record_was_altered_reads_and_gives_nothing_outside(
    served: Served, home: Path
) -> None:
    secret = home / "secret" / "diary.mp4"
    request = SwapRequest.of([secret], secret, secret)
    job = Job(1, request)
    state = served.site.jobs.state
    state.write(replace(job.record(), state="done", frames=1))
    try:
        for answer in (
            served.ask(f"jobs/{job.id}/download"), served.ask(f"jobs/{job.id}/verify", {}),
            served.ask(f"jobs/{job.id}/report", {}), served.ask(f"jobs/{job.id}/resume", {}),
        ):  # fmt: skip
            assert answer.status == 403 and b"private" not in answer.content
    finally:
        (state.path / f"{job.id}.json").unlink()


@pytest.mark.parametrize("job_id", ["..%2f..%2fsession", "%2e%2e", "a-000000000000", "x" * 300])
def test_a_job_is_named_by_its_id_alone(served: Served, job_id: str) -> None:
    for path in ("", "/download", "/report", "/picture"):
        assert served.ask(f"jobs/{job_id}{path}").status == 404


# What may be sent


def uploads(served: Served) -> list[Path]:
    return [path for path in served.site.uploads.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("clara.jpg", "clara.jpg"), ("../../secret/x.jpg", "x.jpg"), ("..%5c..%5cx.jpg", "x.jpg"),
        ("%2Fetc%2Fpasswd", "passwd"), (".bashrc", "bashrc"), ("..", "upload"), ("", "upload"),
        ("-o.jpg", "o.jpg"), ("a%00b%0d%0aSet-Cookie:x.jpg", "a_b__Set-Cookie_x.jpg"),
        ("%3Cscript%3E.jpg", "_script_.jpg"), ("a%E2%80%AEgpj.exe", "a_gpj.exe"),
        ("M%C3%BCller.jpg", "Müller.jpg"), ("x" * 5000 + ".jpg", "x" * 116 + ".jpg"),
    ],
)  # fmt: skip
def test_an_upload_is_kept_under_a_safe_name_in_a_folder_of_its_own(
    served: Served, name: str, kept: str
) -> None:
    answer = served.ask(f"upload?name={name}", b"picture", method="PUT")
    path = Path(answer.told["path"])
    assert path.name == kept and path.parent.parent == served.site.uploads
    assert path.read_bytes() == b"picture" and path.stat().st_mode & 0o077 == 0
    path.unlink()
    path.parent.rmdir()


def test_an_upload_that_says_it_is_too_large_is_refused_unread(served: Served) -> None:
    answer = served.ask("upload?name=a.mp4", b"x", method="PUT", length=10**15)
    assert answer.status == 413 and "--max-upload" in answer.error
    assert uploads(served) == []


def test_an_upload_that_turns_out_too_large_leaves_nothing(served: Served) -> None:
    headers = [
        ("Host", served.host), ("Origin", f"http://{served.host}"),
        ("Transfer-Encoding", "chunked"),
    ]  # fmt: skip
    host, port = served.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        lines = [f"PUT /{served.token}/upload?name=a.mp4 HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        chunk = b"%x\r\n%s\r\n" % (4096, b"x" * 4096)
        connection.sendall(chunk * (LIMIT // 4096 + 1))
        assert b"413" in connection.recv(4096).split(b"\r\n")[0]
    assert list(served.site.uploads.iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(served: Served) -> None:
    host, port = served.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = (
            f"PUT /{served.token}/upload?name=a.mp4 HTTP/1.1\r\nHost: {served.host}\r\n"
            f"Origin: http://{served.host}\r\nContent-Length: 5000\r\n\r\n"
        )
        connection.sendall(head.encode() + b"x" * 100)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)
    assert served.ask("state").status == 200
    assert list(served.site.uploads.iterdir()) == []


def test_an_empty_upload_is_refused(served: Served) -> None:
    answer = served.ask("upload?name=a.mp4", b"", method="PUT")
    assert answer.status == 400 and "empty" in answer.error
    assert list(served.site.uploads.iterdir()) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"{", b"[" * 5000, b'{"path": ' + b"9" * 5000 + b"}", b"\xff\xfe"]
)
def test_a_question_that_is_no_object_is_refused_as_a_sentence(served: Served, body: bytes) -> None:
    for path in ("open", "look", "command", "jobs"):
        answer = served.ask(path, body, method="POST")
        assert answer.status == 400 and answer.error


def test_a_question_of_any_length_is_not_held_in_memory(served: Served) -> None:
    answer = served.ask("open", b" " * (MOST_BODY + 1), method="POST")
    assert answer.status == 400 and str(MOST_BODY) in answer.error


@pytest.mark.parametrize("number", ["-1", "1e3", "0x10", "", "9" * 40, "\u0661"])
def test_the_number_of_a_frame_is_a_number(served: Served, home: Path, number: str) -> None:
    coded = "".join(f"%{byte:02x}" for byte in number.encode())
    answer = served.ask(f"frame?path={home}/shots/a.jpg&n={coded}")
    assert answer.status == 400 and "whole number" in answer.error


# What is kept, and who can read it


def test_faces_that_are_kept_are_their_owners_alone(served: Served) -> None:
    for folder in (served.site.work, served.site.uploads, served.site.results):
        assert folder.stat().st_mode & 0o077 == 0
    assert served.ask("session", {"sources": ["/x"]}, method="PUT").status == 200
    assert served.site.session.stat().st_mode & 0o077 == 0
    assert served.ask("state").told["session"]["sources"] == ["/x"]


def test_a_session_that_was_damaged_is_forgotten(served: Served) -> None:
    for content in (b"{", b"[]", b"\xff", b"[" * 10_000):
        served.site.session.write_bytes(content)
        assert served.ask("state").told["session"] is None


def test_a_download_is_named_safely(served: Served, home: Path) -> None:
    output = home / "shots" / 'a"; filename=x.html\r\nX-Evil: 1.mp4'
    output.write_bytes(b"result")
    job = Job(1, SwapRequest.of([home / "shots" / "a.jpg"], home / "shots" / "a.jpg", output))
    state = served.site.jobs.state
    state.write(replace(job.record(), state="done", frames=1))
    try:
        answer = served.ask(f"jobs/{job.id}/download")
        row = served.ask(f"jobs/{job.id}").told
    finally:
        (state.path / f"{job.id}.json").unlink()
        os.unlink(output)  # noqa: PTH108
    assert answer.status == 200 and answer.content == b"result"
    assert "x-evil" not in answer.headers
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''a%22%3B")
    assert "html" not in answer.headers["content-type"]
    json.dumps(row)


def test_a_report_is_shown_in_a_sandbox(served: Served, home: Path) -> None:
    job = Job(1, SwapRequest.of([home / "shots/a.jpg"], home / "shots/a.jpg", home / "shots/r.mp4"))
    state = served.site.jobs.state
    state.write(replace(job.record(), state="done", frames=1))
    page = served.site.report_of(job.id)
    page.write_text("<script>fetch('../state')</script>")
    try:
        policy = served.ask(f"jobs/{job.id}/report").headers["content-security-policy"]
    finally:
        (state.path / f"{job.id}.json").unlink()
        page.unlink()
    directives = policy.split("; ")
    assert "sandbox allow-scripts" in directives and "default-src 'none'" in directives
    assert not any(d.startswith("connect-src") for d in directives)
    assert "allow-same-origin" not in policy
