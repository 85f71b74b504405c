from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from importlinter import api, cli

import edge_node

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(edge_node.__file__).parent
MODULES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_data" not in path.parts
}
DOORS = {
    "cel": {"conditions/expression.py"},
    "cryptography": {"signing.py"},
    "faiss": {"knowledge/vectors.py"},
    "gguf": {"model/gguf_file.py"},
    "hassil": {"understand/templates.py"},
    "iotcore": {"bus/embedded.py"},
    "llama_cpp": {"bench/engine_llama.py"},
    "llguidance": {"model/grammar.py"},
    "onnxruntime": {"model/session.py"},
    "onnxruntime_genai": {"bench/engine_genai.py"},
    # A client of paho and what it is used for; the bare client is what the bus is measured by.
    "paho": {"bus/connection.py", "bus/frugal.py", "bench/bare.py"},
    "peft": {"tuning/training.py"},
    "pypdf": {"knowledge/pdf.py"},
    "sqlite3": {"database.py"},
    "tokenizers": {"model/tokens.py"},
    "torch": {"tuning/training.py"},
    "transformers": {"tuning/training.py"},
    "uuid_utils": {"identifiers.py"},
    "watchfiles": {"config/watching.py"},
    "yaml": {"config/source.py"},
}
"""Library to the one module that imports it and maps its exceptions."""
ONE_DOOR_SOMEWHERE = ("huggingface_hub", "jinja2", "onnx", "google")
CATCHES_EVERYTHING = {
    "bus/client.py": 1,  # what passed through paho would end the network thread in silence
    "runtime/dispatcher.py": 1,  # a fault in one message must not end the service
}
CATCHES_AND_RAISES_AGAIN = {"database.py"}  # a transaction is rolled back whatever ended it
LONGEST_MODULE = 400
LONGEST_FUNCTION = 45  # without its docstring
ONLY_DECLARATIONS = {"errors.py", "messages.py"}  # every class there has its docstring; no code to follow


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the top-level names that a module imports at run time, also those by `import_module`."""
    types_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in types_only:
            continue
        match node:
            case ast.Import(names=names):
                yield from (alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.split(".")[0]
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
                if ast.unparse(func).endswith("import_module"):
                    yield name.split(".")[0]


def importers(library: str) -> set[str]:
    return {name for name, tree in MODULES.items() if library in imported(tree)}


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for name, tree in MODULES.items():
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, kind))


def lines_of(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_imports_point_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PACKAGE.parent)
    contracts = api.read_configuration("pyproject.toml")["contracts_options"]
    assert [contract["name"] for contract in contracts] == ["Imports point one way"]

    assert cli.lint_imports(no_cache=True) == os.EX_OK


@pytest.mark.parametrize("library", DOORS)
def test_each_third_party_library_has_one_door(library: str) -> None:
    assert importers(library) == DOORS[library]


@pytest.mark.parametrize("library", ONE_DOOR_SOMEWHERE)
def test_no_library_has_two_doors(library: str) -> None:
    assert len(importers(library)) <= 1


@pytest.mark.parametrize("library", ["click", "rich"])
def test_the_terminal_is_known_to_the_command_line_only(library: str) -> None:
    assert importers(library)
    assert all(name.startswith("cli/") for name in importers(library))


def test_only_the_command_line_prints() -> None:
    prints = {
        name
        for name, node in nodes(ast.Call)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }

    assert {name for name in prints if not name.startswith("cli/")} == set()


def test_nothing_is_asserted_at_run_time() -> None:
    assert [name for name, _ in nodes(ast.Assert)] == []


def test_imports_are_absolute() -> None:
    relative = [
        name for name, node in nodes(ast.ImportFrom) if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == []


def test_everything_is_caught_only_where_it_must_be() -> None:
    broad: dict[str, int] = {}
    for name, node in nodes(ast.ExceptHandler):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = ast.unparse(node.type) if node.type else "BaseException"
        if caught == "BaseException":
            assert name in CATCHES_AND_RAISES_AGAIN, name
            assert any(isinstance(statement, ast.Raise) for statement in node.body), name
        elif caught == "Exception":
            broad[name] = broad.get(name, 0) + 1

    assert broad == CATCHES_EVERYTHING


def test_modules_are_short_enough_to_be_read() -> None:
    lengths = {
        name: len((PACKAGE / name).read_text(encoding="utf-8").splitlines())
        for name in MODULES
        if name not in ONLY_DECLARATIONS
    }

    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_modules_that_only_declare_hold_no_logic() -> None:
    for name in ONLY_DECLARATIONS:
        loops = [node for node in ast.walk(MODULES[name]) if isinstance(node, ast.For | ast.While | ast.Try)]
        assert loops == []


def test_functions_fit_on_a_screen() -> None:
    lengths = {
        f"{name}:{node.name}": lines_of(node) - (lines_of(node.body[0]) if ast.get_docstring(node) else 0)
        for name, node in nodes(ast.FunctionDef)
        if isinstance(node, ast.FunctionDef)
    }

    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_each_module_opens_with_what_it_is() -> None:
    assert [name for name, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def test_each_module_postpones_its_annotations() -> None:
    without = [
        name
        for name, tree in MODULES.items()
        if any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body)
        and "from __future__ import annotations" not in map(ast.unparse, tree.body)
    ]

    assert without == []
