"""`edge-node eval commands` over a lamp's tools, with an embedder of hashed words and no language model."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_node.cli import edge_node, eval_commands

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

KEYS = {
    *("cases", "exact", "exact_spoken", "name", "false_actions"),
    *("missed", "asked", "tiers", "ms_p50", "ms_p95"),
}
TOOLS = [
    {
        "name": f"lamp_{state}",
        "description": f"Switches a lamp {state}.",
        "parameters": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "Name of a device"},
                "domain": {"type": "string", "description": "Domain of it"},
            },
            "required": [],
        },
    }
    for state in ("on", "off")
]
CATALOGUE = {"entities": [{"id": "lamp.desk", "name": "Desk lamp"}, {"id": "lamp.hall", "name": "Hall lamp"}]}


class HashedWords:
    """Bag of hashed words, unit length."""

    name = "hashed-words"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.full((len(texts), 256), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                vectors[row, zlib.crc32(word.encode()) % 256] += 1.0
        normed: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return normed


def said(words: str, name: str = "", device: str = "", **more: Any) -> dict[str, Any]:
    arguments = {"name": device, "domain": "lamp"} if device else {}
    expected = {"name": name, "arguments": arguments} if name else "none"
    return {"utterance": words, "expected": expected, "catalogue": CATALOGUE, **more}


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(eval_commands, "load_embedder", lambda *_, **__: HashedWords())
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    examples = [
        said(words.format(state), f"lamp_{state}", "Desk lamp")
        for state in ("on", "off")
        for words in ("turn {} the desk lamp", "switch {} the desk lamp", "desk lamp {}")
    ]
    lines(tmp_path / "dev.jsonl", [*examples, said("who wrote this poem")])
    lines(
        tmp_path / "cases.jsonl",
        [
            said("turn on the hall lamp", "lamp_on", "Hall lamp"),
            said("switch off the hall lamp", "lamp_off", "Hall lamp"),
            said("tell me a joke about the weather"),
        ],
    )
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    files = ["--tools", "tools.json", "--examples", "dev.jsonl", "--cases", "cases.jsonl"]
    named = [str(folder / name) if "." in name else name for name in files]
    return CliRunner().invoke(
        edge_node, ["eval", "commands", *named, "--tiers", "template,nearest", *arguments]
    )


def test_every_figure_is_printed_as_json(measured: Path) -> None:
    result = run(measured, "--json", "--implied", "domain")

    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert set(figures) == KEYS
    assert (figures["cases"], figures["exact_spoken"], figures["false_actions"]) == (3, 1.0, 0.0)
    assert set(figures["tiers"]) == {"template", "nearest", "slm", "left"}
    assert figures["tiers"]["nearest"]["accuracy"] == 1.0
    assert sum(tier["share"] for tier in figures["tiers"].values()) == pytest.approx(1.0)


def test_what_came_out_wrong_is_listed_where_that_is_wanted(measured: Path) -> None:
    wrong = said("turn on the hall lamp", "lamp_off", "Hall lamp")
    lines(measured / "cases.jsonl", [wrong])

    told = json.loads(run(measured, "--json", "--verbose").stdout)
    assert told["exact"] == 0.0
    [one] = told["wrong"]
    assert (one["utterance"], one["expected"]["name"], one["came"]["name"]) == (
        "turn on the hall lamp",
        "lamp_off",
        "lamp_on",
    )


def test_a_person_reads_a_table(measured: Path) -> None:
    result = run(measured)

    assert result.exit_code == 0
    assert "exact_spoken" in result.stdout
    assert "tier nearest" in result.stdout


def test_an_unknown_tier_is_refused(measured: Path) -> None:
    result = run(measured, "--tiers", "oracle")

    assert result.exit_code == 2
    assert "expected some of template, nearest, slm" in result.output


def test_a_case_without_an_expectation_is_told_with_its_line(measured: Path) -> None:
    lines(measured / "cases.jsonl", [said("turn on the hall lamp"), {"utterance": "hm"}])

    result = run(measured)
    assert result.exit_code != 0
    assert "expected" in str(result.exception or result.output)
