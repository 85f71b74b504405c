from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from edge_node.config.load import load
from edge_node.config.models import RuntimeConfig
from edge_node.config.schema import schemas
from edge_node.config.shipped import shipped_folder

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = shipped_folder("config")
RUNTIME = CONFIG / "edge-node.yaml"


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_schemas_in_the_repository_are_those_of_the_models(name: str) -> None:
    assert (CONFIG / name).read_text(encoding="utf-8") == schemas()[name], "run: make schemas"


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_schemas_are_valid_and_describe_every_key(name: str) -> None:
    schema = json.loads(schemas()[name])

    Draft202012Validator.check_schema(schema)
    for model in (schema, *schema["$defs"].values()):
        for key, value in model["properties"].items():
            assert "description" in value or "$ref" in value, key


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schemas()[name]))


def test_the_schema_takes_the_ready_files_and_refuses_an_unknown_key() -> None:
    data = yaml.safe_load(RUNTIME.read_text(encoding="utf-8"))
    validator("edge-node.schema.json").validate(data)
    for file in shipped_folder("nodes").glob("*/node.yaml"):
        validator("node.schema.json").validate(yaml.safe_load(file.read_text(encoding="utf-8")))

    with pytest.raises(ValidationError, match="brocker"):
        validator("edge-node.schema.json").validate(data | {"brocker": {}})


def test_the_runtime_file_shows_every_key_with_its_default(tmp_path: Path) -> None:
    shown = RuntimeConfig.model_validate(yaml.safe_load(RUNTIME.read_text(encoding="utf-8")))
    defaults = RuntimeConfig(edge_node=1, edge=shown.edge)

    assert shown == defaults
    text = RUNTIME.read_text(encoding="utf-8")
    named = json.loads(schemas()["edge-node.schema.json"])
    for model in (named, *named["$defs"].values()):
        for key in model["properties"]:
            assert f"{key}:" in text, key

    (tmp_path / "edge-node.yaml").write_text(text.replace("  - nodes/*", "  []"), encoding="utf-8")
    assert load(tmp_path).runtime == defaults.model_copy(update={"nodes": []})


def test_every_line_with_a_key_has_a_comment() -> None:
    lines = RUNTIME.read_text(encoding="utf-8").split("\n")
    bare = [line for line in lines if ": " in line and not line.startswith("#") and "#" not in line]

    assert bare == []
