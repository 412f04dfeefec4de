"""The Nuke script and the Fusion composition: whole, and of the layers that a run writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from vidswap.swap.layer_files import _FLOATS, _HALVES

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "compositing"
COLOURS = {"R": "red", "G": "green", "B": "blue", "A": "alpha"}


def written_layers() -> dict[str, list[str]]:
    """Channels of each layer of an OpenEXR file, as compositors call them."""
    found: dict[str, list[str]] = {}
    for name in (*_HALVES, *_FLOATS):
        layer, _, channel = name.partition(".")
        found.setdefault(layer, []).append(COLOURS[channel])
    return found


def nuke_words(text: str) -> list[str]:
    """The words of a Tcl script, a braced group as one."""
    words, place = [], 0
    while place < len(text):
        if text[place] == "{":
            depth, end = 0, place
            while depth or end == place:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            words.append(text[place + 1 : end - 1])
            place = end
        elif match := re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^\s{}"]+').match(text, place):
            words.append(match[0].strip('"'))
            place = match.end()
        else:
            assert text[place].isspace(), text[place : place + 40]
            place += 1
    return words


def nuke_nodes() -> tuple[list[tuple[str, dict[str, str]]], list[str], dict[str, list[str]]]:
    """Nodes with their knobs, inputs as names of nodes, and the layers that are declared."""
    words = nuke_words((FOLDER / "vidswap-layers.nk").read_text())
    stack: list[str] = []
    kept: dict[str, str] = {}
    nodes, layers = [], {}
    links = []
    place = 4
    assert words[:4] == ["version", "13.0", "v1", "define_window_layout_xml"]
    place += 1
    while place < len(words):
        word, argument = words[place], words[place + 1]
        place += 2
        if word == "set":
            assert words[place] == "[stack 0]"
            kept[argument] = stack[0]
            place += 1
        elif word == "push":
            stack.insert(0, kept[argument.removeprefix("$")])
        elif word == "add_layer":
            name, *channels = argument.split()
            layers[name] = [channel.removeprefix(f"{name}.") for channel in channels]
        else:
            pairs = nuke_words(argument)
            assert len(pairs) % 2 == 0, pairs
            knobs = dict(zip(pairs[::2], pairs[1::2], strict=True))
            count = int(knobs.get("inputs", 1))
            assert len(stack) >= count
            inputs, stack = stack[:count], stack[count:]
            nodes.append((word, knobs))
            links.append(f"{knobs['name']} < {', '.join(inputs)}")
            if word != "Root":
                stack.insert(0, knobs["name"])
    return nodes, links, layers


def test_the_nuke_script_puts_the_face_over_the_plate() -> None:
    nodes, links, layers = nuke_nodes()
    assert layers == written_layers()
    for line in (
        "Face < Layers", "FaceGrade < Face", "Recomposed < Plate, FaceGrade",
        "Check < Layers, Recomposed", "OnFace < Texture, Layers", "Viewer1 < Recomposed",
    ):  # fmt: skip
        assert line in links
    by_name = {knobs["name"]: (kind, knobs) for kind, knobs in nodes}
    assert by_name["Recomposed"] == ("Merge2", by_name["Recomposed"][1])
    assert by_name["Recomposed"][1]["operation"] == "over"
    assert all(by_name[name][1]["in"] in layers for name in ("Face", "Matte", "Raw", "Occlusion"))
    assert by_name["OnFace"][1]["uv"] == "uv"


def test_tcl_reads_the_nuke_script() -> None:
    tkinter = pytest.importorskip("tkinter")
    script = (FOLDER / "vidswap-layers.nk").read_text()
    interpreter = tkinter.Tcl()
    assert interpreter.eval(f"info complete {{{script}}}") == "1"


def fusion_table() -> Any:
    """The composition as dictionaries and lists."""
    text = (FOLDER / "vidswap-layers.comp").read_text()
    tokens = re.findall(r'"[^"]*"|[A-Za-z_]\w*|-?\d+(?:\.\d+)?|[{}()\[\]=,]', text)
    assert re.sub(r"\s", "", text) == re.sub(r"\s", "", "".join(tokens))
    value, end = _value(tokens, 0)
    assert end == len(tokens)
    return value


def _value(tokens: list[str], place: int) -> tuple[Any, int]:
    token = tokens[place]
    if token == "{":
        return _table(tokens, place + 1)
    if re.fullmatch(r"[A-Za-z_]\w*", token) and place + 1 < len(tokens):
        if tokens[place + 1 : place + 3] == ["(", ")"]:
            place += 2
        if tokens[place + 1] == "{":
            return _table(tokens, place + 2)
    return token.strip('"'), place + 1


def _table(tokens: list[str], place: int) -> tuple[Any, int]:
    fields: dict[Any, Any] = {}
    while tokens[place] != "}":
        if tokens[place] == "[":
            assert tokens[place + 2 : place + 4] == ["]", "="]
            key, place = tokens[place + 1].strip('"'), place + 4
        elif tokens[place + 1] == "=":
            key, place = tokens[place], place + 2
        else:
            key = len(fields)
        assert key not in fields
        fields[key], place = _value(tokens, place)
        if tokens[place] == ",":
            place += 1
        else:
            assert tokens[place] == "}", tokens[place - 3 : place + 3]
    return fields, place + 1


def test_the_fusion_composition_puts_the_face_over_the_plate() -> None:
    tools = fusion_table()["Tools"]
    sources = {
        name: {key: each["SourceOp"] for key, each in tool["Inputs"].items() if "SourceOp" in each}
        for name, tool in tools.items()
        if "Inputs" in tool
    }
    assert all(source in tools for inputs in sources.values() for source in inputs.values())
    assert sources["Recomposed"] == {"Background": "Plate", "Foreground": "FaceGrade"}
    assert sources["FaceGrade"] == {"Input": "Face"}
    channels = {
        each["Value"][0] for key, each in tools["Face"]["Inputs"].items() if "EXRFormat" in key
    }
    assert channels == {f"face.{c}" for c in "RGBA"}
    assert "face" in written_layers()
