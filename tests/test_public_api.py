from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

import pytest

import edge_node
from edge_node import errors
from edge_node.errors import EdgeNodeError


@pytest.mark.parametrize("name", edge_node.__all__)
def test_each_public_name_can_be_had(name: str) -> None:
    assert getattr(edge_node, name) is not None


def test_the_public_names_are_sorted_and_stand_once() -> None:
    assert edge_node.__all__ == sorted(set(edge_node.__all__))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'edge_node' has no attribute 'Manager'"):
        _ = edge_node.Manager


def test_importing_the_package_imports_no_heavy_library() -> None:
    script = (
        "import sys, edge_node\n"
        "heavy = {'faiss', 'numpy', 'onnx', 'onnxruntime', 'paho', 'pydantic', 'sqlite3', 'yaml'}\n"
        "sys.exit(' '.join(sorted(heavy & sys.modules.keys())) or 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_version_is_that_of_the_distribution() -> None:
    try:
        installed = metadata.version("edge-node")
    except metadata.PackageNotFoundError:
        pytest.skip("edge-node is not installed, only on the path")
    assert edge_node.__version__ == installed


def classes() -> list[type[EdgeNodeError]]:
    """Return every error class of the package."""
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, EdgeNodeError)
    ]


def drawn() -> dict[str, str]:
    """Return class to base as the tree in the docstring of errors draws them."""
    above: list[str] = []
    tree: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:│   |    )*(?:[├└]── )?)([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            tree[found[2]] = above[depth - 1] if depth else "Exception"
    return tree


def test_the_tree_in_the_docstring_draws_every_error_below_its_base() -> None:
    tree = drawn()

    assert tree.keys() == {each.__name__ for each in classes()}
    for each in classes():
        assert tree[each.__name__] in {base.__name__ for base in each.__bases__}, each


def test_each_error_has_a_code_of_its_own_that_may_stand_in_a_topic() -> None:
    codes = [each.code for each in classes()]

    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z][a-z_]*", code) for code in codes)


def test_an_error_travels_with_code_message_hint_field_and_retryable() -> None:
    assert errors.Busy(waiting=4).as_dict() == {
        "code": "busy",
        "message": "queue: expected room, came a request behind 4 others",
        "hint": "ask again in a while",
        "field": "limits.queue",
        "retryable": True,
    }
