"""Shot lists: an edit's times and notes become the plan's shots, each mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.people.test_plan import SETTINGS
from tests.people.test_plan import folder as folder
from vidswap.errors import BadOptionError, CastError, InputNotFoundError
from vidswap.people.plan import PLAN, read_plan
from vidswap.people.shot_list import read_shots, write_shots

EDL = """TITLE: FILM
FCM: NON-DROP FRAME

001  AX       V     C        00:00:10:00 00:00:12:00 01:00:00:00 01:00:02:00
* FROM CLIP NAME: A001.MOV
* PERSON: p1
* SOURCE: alice.png
* COLOUR_MATCH: 0.4
002  AX       A2    C        00:00:10:00 00:00:12:00 01:00:01:00 01:00:02:00
* PERSON: p2
* SOURCE: bob.png
003  AX       V     C        00:00:00:00 00:00:01:00 01:00:02:00 01:00:03:00
* FROM CLIP NAME: NOTHING.MOV
004  BL       V     D    012 00:00:00:00 00:00:01:00 01:00:06:00 01:00:07:12
* MASK: outline
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_an_edl_says_who_gets_whose_face_and_when(folder: Path) -> None:
    shots = read_shots(written(folder, "a.edl", EDL), SETTINGS, 25.0)
    assert [(shot.line, shot.person, shot.start) for shot in shots] == [
        (4, "p1", 0.0),
        (14, "", 5.98),
    ]
    assert shots[0].end == 1.98 and shots[1].end == pytest.approx(7 + 11.5 / 25)
    assert write_shots(folder, shots, SETTINGS) == 2
    plan = read_plan(folder, SETTINGS)
    first = plan.decide(0, 1.0)
    assert (first.person, first.settings) == ("p1", {"colour_match": 0.4})
    assert [source.name for source in first.sources] == ["alice.png"]
    # Frame 49 of 25 a second is the shot's last one, and frame 50 the next one's first.
    assert plan.decide(0, 49 / 25).sources and not plan.decide(0, 50 / 25).sources
    assert not plan.decide(1, 1.0).sources and not plan.decide(0, 3.0).settings
    assert plan.decide(2, 6.0).settings == plan.decide(3, 7.0).settings == {"mask": "outline"}


def test_the_same_list_twice_adds_nothing_and_keeps_comments(folder: Path) -> None:
    (folder / PLAN).write_text("# mine\n" + (folder / PLAN).read_text())
    shots = read_shots(written(folder, "a.edl", EDL), SETTINGS, 25.0)
    assert write_shots(folder, shots, SETTINGS) == 2
    once = (folder / PLAN).read_text()
    assert write_shots(folder, shots, SETTINGS) == 0
    assert (folder / PLAN).read_text() == once and once.startswith("# mine\n")


def test_a_table_has_seconds_or_time_codes_and_any_setting(folder: Path) -> None:
    (folder / PLAN).write_text((folder / PLAN).read_text().replace('name = ""', 'name = "Ann"', 1))
    path = written(
        folder, "a.csv",
        "in,out,person,source,detail,mask\n0.5,1.5,Ann,alice.png|bob.png,0.25,\n"
        "10:00:02:00,10:00:03:00,p2,keep,,square\n",
    )  # fmt: skip
    write_shots(folder, read_shots(path, SETTINGS, 24.0), SETTINGS)
    plan = read_plan(folder, SETTINGS)
    assert [path.name for path in plan.decide(0, 1.0).sources] == ["alice.png", "bob.png"]
    assert plan.decide(0, 1.0).settings == {"detail": 0.25} and not plan.decide(0, 1.5).settings
    assert plan.decide(1, 2.5).settings == {"mask": "square"} and not plan.decide(1, 2.5).sources


def test_drop_frame_time_codes_leave_numbers_out(folder: Path) -> None:
    path = written(folder, "a.csv", "in,out,source\n01:00:00;00,01:10:00;00,alice.png\n")
    (shot,) = read_shots(path, SETTINGS, 30000 / 1001)
    assert shot.end == pytest.approx(17981.5 * 1001 / 30000, abs=1e-3)  # SMPTE ST 12: 17982 frames


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "start,end\n1,2\n", "line 1: a shot list has the columns in, out"),
        ("a.csv", "in,out\n2,1\n", "line 2: from 2 to 1: out must be after in"),
        ("a.csv", "in,out\n1\n", "line 2: it has not 2 cells"),
        ("a.csv", "in,out\n1,2,3\n", "line 2: it has not 2 cells"),
        ("a.csv", "in,out\nsoon,2\n", 'line 2: in = "soon"; write a time code'),
        ("a.csv", "in,out\nnan,2\n", 'line 2: in = "nan"; write'),
        ("a.csv", "in,out,masc\n1,2,x\n", "line 2: unknown column masc; allowed: in, out"),
        ("a.csv", "in,out,mask\n1,2,x\n", 'line 2: mask = "x"; it must be one of'),
        ("a.csv", "in,out,detail\n1,2,9\n", 'line 2: detail = "9"; it must be from 0 to 1'),
        ("a.csv", "in,out\n00:00:00:25,00:00:02:00\n", "00:00:00:25 is no time code of 25"),
        ("a.csv", "in,out\n02:00:01:00,01:00:00:00\n", "before the hour"),
        ("a.csv", "in,out,person\n", "holds no shots"),
        ("a.edl", "TITLE: A\n001 AX V C 00:00:00:00\n", "line 2: .* is no event of CMX 3600"),
        ("a.edl", "TITLE: A\n", "holds no shots"),
        ("a.edl", "\x00" * 40, "holds no shots"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(folder: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(CastError, match=words):
        read_shots(written(folder, name, text), SETTINGS, 25.0)


def test_what_the_cast_does_not_know_changes_nothing(folder: Path) -> None:
    before = (folder / PLAN).read_text()
    path = written(folder, "a.csv", "in,out,person,source\n0,1,p1,alice.png\n0,1,p9,alice.png\n")
    with pytest.raises(CastError, match="line 3: p9 is nobody in"):
        write_shots(folder, read_shots(path, SETTINGS, None), SETTINGS)
    assert (folder / PLAN).read_text() == before
    with pytest.raises(InputNotFoundError, match=r"line 2: absent\.png: no such file"):
        read_shots(written(folder, "b.csv", "in,out,source\n0,1,absent.png\n"), SETTINGS, None)
    with pytest.raises(BadOptionError, match="give --fps"):
        read_shots(written(folder, "a.edl", EDL), SETTINGS, None)
