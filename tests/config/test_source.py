from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_node.config.source import MAX_BYTES, read_document, read_yaml
from edge_node.errors import ConfigurationInvalid, Problem

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, content: str | bytes) -> Path:
    file = folder / "some.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def problem_in(folder: Path, content: str | bytes) -> Problem:
    file = write(folder, content)
    with pytest.raises(ConfigurationInvalid) as caught:
        read_yaml(file)
    [problem] = caught.value.problems
    assert problem.file == str(file)
    return problem


def test_a_document_knows_the_line_of_each_key_and_list_item(tmp_path: Path) -> None:
    document = read_document(write(tmp_path, "# top\na:\n  b: 1\n  c:\n    - x\n    - y\n"))

    assert document.data == {"a": {"b": 1, "c": ["x", "y"]}}
    assert document.line(("a",)) == 2
    assert document.line(("a", "b")) == 3
    assert document.line(("a", "c", 1)) == 6
    assert document.line(("a", "missing", "deeper")) == 2
    assert document.line(("missing",)) == 1


def test_words_that_older_yaml_takes_for_something_else_stay_words(tmp_path: Path) -> None:
    file = write(tmp_path, "[on, off, yes, no, 010, 0x1F, 10:30, 1_000, 2026-01-01, .inf, .nan]")

    assert read_yaml(file) == [
        "on", "off", "yes", "no", "010", "0x1F", "10:30", "1_000", "2026-01-01", ".inf", ".nan",
    ]  # fmt: skip


def test_numbers_booleans_and_nothing_are_read_as_such(tmp_path: Path) -> None:
    file = write(tmp_path, "[true, False, null, ~, 0, -7, 1.5, 1e3, '1', \"true\"]")

    assert read_yaml(file) == [True, False, None, None, 0, -7, 1.5, 1000.0, "1", "true"]


def test_a_key_may_be_a_word_that_older_yaml_takes_for_a_boolean(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path, "on: 1\noff: 2\n")) == {"on": 1, "off": 2}


@pytest.mark.parametrize(
    ("content", "line", "key", "expected", "came"),
    [
        ("a:\n\tb: 1\n", 2, "", "spaces for indentation", "a tab"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "b.c", "each key once", "'c' again, first on line 3"),
        ("a: 1\n---\nb: 2\n", 2, "", "one document", "a second one after '---'"),
        ("", 1, "", "keys and values", "an empty file"),
        ("# nothing\n", 1, "", "keys and values", "an empty file"),
        ("a: 1\n2: x\n", 2, "", "a string as key", "2"),
        ("a:\n  ? [x]\n  : 1\n", 2, "a", "a string as key", "a mapping or a list"),
        ("a: 1\nb: !secret x\n", 2, "b", "a value without a tag", "!secret"),
        (
            "!!python/object/apply:os.system [ls]",
            1,
            "",
            "a value without a tag",
            "!!python/object/apply:os.system",
        ),
        ("a: !!int x\n", 1, "a", "a value without a tag", "!!int x"),
        ("a: 1e999\n", 1, "a", "a finite number", "1e999"),
        (b"a: 1\nb: \xff\n", 2, "", "UTF-8 text", "byte 0xff"),
        ("a: 1\nb: \x07\n", 2, "", "printable characters", "the character U+0007"),
        ('a: "x\\ud800"\n', 1, "a", "text", "the character U+D800"),
        ('a: "\\0"\n', 1, "a", "text", "the character U+0000"),
        ("a: b: c\n", 1, "", "one key and one value", "a ': ' where none may stand"),
        ("a: 1\nb: {x}/y\n", 2, "", "keys below each other in one column", "something else"),
        ("a: @x\n", 1, "", "a value", "a character that YAML keeps for itself"),
        ("a: 'x\nb: 1\n", 3, "", "a closing quote", "the end of the file"),
        ("a: [1,\n", 2, "", "a closing bracket", "the end of the file"),
    ],
)
def test_yaml_that_is_wrong_or_surprising_is_named_with_its_line(
    tmp_path: Path, content: str | bytes, line: int, key: str, expected: str, came: str
) -> None:
    problem = problem_in(tmp_path, content)

    assert (problem.line, problem.key, problem.expected, problem.came) == (line, key, expected, came)


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    for path, came in ((tmp_path / "none.yaml", "no such file or directory"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigurationInvalid, match=f"expected a file that can be read, came {came}"):
            read_yaml(path)


def test_aliases_are_followed_but_do_not_grow_beyond_a_limit(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path, "a: &x [1]\nb: *x\n")) == {"a": [1], "b": [1]}

    bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert problem_in(tmp_path, bomb).expected == "at most 20000 values in 60 levels"
    assert problem_in(tmp_path, "a: &x [*x]").expected == "at most 20000 values in 60 levels"


def test_nesting_without_end_and_a_file_without_end_are_refused(tmp_path: Path) -> None:
    assert "60 levels" in problem_in(tmp_path, "a: " + "[" * 100 + "]" * 100).expected
    assert "60 levels" in problem_in(tmp_path, "[" * 5000).expected
    assert problem_in(tmp_path, "a" * (MAX_BYTES + 1)).expected == f"at most {MAX_BYTES} bytes"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40) | st.text(alphabet="ab1:-[]{}&*!|>'\"#%@`,? \n\t", max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    file = write(tmp_path, content)
    try:
        document = read_document(file)
    except ConfigurationInvalid:
        return
    assert document.line(()) == 1
