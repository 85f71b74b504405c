"""The JSON Schemas of all files, for editors and for other programs.

Made from the models, so that they cannot disagree with what is accepted. Knows nothing of where they lie.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_node.config.models import NodeConfig, RuntimeConfig
from edge_node.config.scalars import DURATION, SIZE, duration_text, size_text
from edge_node.config.scenario_file import ScenariosConfig

if TYPE_CHECKING:
    from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FILES: dict[str, tuple[str, type[BaseModel]]] = {
    "edge-node.schema.json": ("Runtime file of edge_node", RuntimeConfig),
    "node.schema.json": ("Node file of edge_node", NodeConfig),
    "scenarios.schema.json": ("Scenario file of edge_node", ScenariosConfig),
}


def schemas() -> dict[str, str]:
    """Return file name to text of the JSON Schemas, in JSON Schema 2020-12, with a stable order."""
    return {file: _text(title, model) for file, (title, model) in _FILES.items()}


def _text(title: str, model: type[BaseModel]) -> str:
    schema = _as_written(model.model_json_schema())
    return json.dumps({"$schema": DIALECT, **schema, "title": title}, indent=2, ensure_ascii=False) + "\n"


def _as_written(schema: Any) -> Any:
    """Return the schema with durations and sizes as the file writes them, and strict about keys."""
    if isinstance(schema, list):
        return [_as_written(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    written = {key: _as_written(value) for key, value in schema.items()}
    default = written.get("default")
    if written.get("pattern") == DURATION and default is not None:
        written["default"] = duration_text(default)
    if "patternProperties" in written:
        # Keys that do not follow the pattern are errors, as everywhere else.
        written["additionalProperties"] = False
    if written.get("pattern") == SIZE and default is not None:
        written["default"] = size_text(default)
    return written
