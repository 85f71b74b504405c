from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_node.errors import ConfigurationInvalid, ModelUnknown
from edge_node.model.catalogue import DEFAULT_MODELS, Catalogue, HubSource, Kind, PathSource, WheelSource

if TYPE_CHECKING:
    from pathlib import Path

OWN = """
models:
  tiny:
    kind: language
    licence: MIT
    files:
      - name: tiny.gguf
        sha256: {sha}
        size: 12
        sources:
          - hub: someone/tiny-GGUF
            revision: v1
            file: tiny.Q8_0.gguf
          - path: $EDGE_NODE_HOME/by-hand/tiny.gguf
"""
SHA = "ab" * 32


def written(folder: Path, text: str) -> Path:
    file = folder / "models.yaml"
    file.write_text(text)
    return file


def problems_of(file: Path) -> list[tuple[int, str]]:
    with pytest.raises(ConfigurationInvalid) as caught:
        Catalogue.load(file)
    return [(problem.line, str(problem)) for problem in caught.value.problems]


def test_the_shipped_catalogue_holds_both_default_models_with_a_wheel_for_each_file(tmp_path: Path) -> None:
    catalogue = Catalogue.load(tmp_path / "none.yaml")

    kinds = [catalogue.entry(name).kind for name in DEFAULT_MODELS]

    assert kinds == [Kind.LANGUAGE, Kind.EMBEDDING]
    for name in DEFAULT_MODELS:
        for file in catalogue.entry(name).files:
            assert isinstance(file.sources[0], WheelSource), file.name


def test_a_language_model_is_built_from_its_gguf_and_an_embedding_model_runs_as_it_is(tmp_path: Path) -> None:
    language, embedding = map(Catalogue.load(tmp_path / "none.yaml").entry, DEFAULT_MODELS)

    assert language.gguf is not None
    assert language.gguf.name == "model.gguf"
    assert embedding.gguf is None
    assert embedding.size_bytes == sum(file.size for file in embedding.files)


def test_a_users_models_stand_beside_the_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_NODE_HOME", str(tmp_path))
    written(tmp_path, OWN.format(sha=SHA))

    catalogue = Catalogue.load()

    hub, by_hand = catalogue.entry("tiny").files[0].sources
    assert set(catalogue.models) == {*DEFAULT_MODELS, "tiny"}
    assert hub == HubSource(hub="someone/tiny-GGUF", revision="v1", file="tiny.Q8_0.gguf")
    assert isinstance(by_hand, PathSource)
    assert by_hand.expanded == tmp_path / "by-hand" / "tiny.gguf"


def test_a_users_entry_replaces_a_shipped_one_of_the_same_name(tmp_path: Path) -> None:
    file = written(tmp_path, OWN.format(sha=SHA).replace("  tiny:", f"  {DEFAULT_MODELS[0]}:"))

    assert Catalogue.load(file).entry(DEFAULT_MODELS[0]).licence == "MIT"


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    catalogue = Catalogue.load(tmp_path / "none.yaml")

    with pytest.raises(ModelUnknown, match=r"'gpt-9': expected one of all-minilm-l6-v2, smollm2") as caught:
        catalogue.entry("gpt-9")

    assert "edge-node model list" in caught.value.hint


@pytest.mark.parametrize(
    ("right", "wrong", "line", "said"),
    [
        ("kind: language", "kind: langage", 4, "'language' or 'embedding'"),
        ("name: tiny.gguf", "name: ../tiny.gguf", 7, "without a folder"),
        (f"sha256: {SHA}", "sha256: 12ab", 8, "64 digits of a sha256"),
        (f"        sha256: {SHA}\n", "", 7, "models.tiny.files[0].sha256: expected a value, came nothing"),
        ("size: 12", "size: 0", 9, "greater than 0"),
        ("- hub: someone/tiny-GGUF", "- ftp: someone", 11, "one of the keys wheel, hub and path"),
        ("hub: someone/tiny-GGUF", "hub: tiny", 11, "as in owner/name"),
        ("path: $EDGE_NODE_HOME/", "path: ./", 14, "begins with /, ~ or"),
        ("licence: MIT", "license: MIT", 5, "license"),
    ],
)
def test_a_wrong_entry_is_told_with_its_line(
    tmp_path: Path, right: str, wrong: str, line: int, said: str
) -> None:
    text = OWN.format(sha=SHA)
    assert right in text

    found = problems_of(written(tmp_path, text.replace(right, wrong)))

    assert any(at == line and said in problem for at, problem in found), found


@pytest.mark.parametrize(
    "requirement", ["-r evil==1", "name", "name>=1", "name==1 --pre", "git+https://x==1"]
)
def test_a_wheel_is_a_name_and_a_version_and_never_an_option_of_pip(tmp_path: Path, requirement: str) -> None:
    text = OWN.format(sha=SHA).replace("- hub: someone/tiny-GGUF", f'- wheel: "{requirement}"')
    text = text.replace("            revision: v1\n", "").replace("file: tiny.Q8_0", "member: tiny.Q8_0")

    found = problems_of(written(tmp_path, text))

    assert [line for line, _ in found] == [11]
    assert "as in name==1.0.0" in found[0][1]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    file = OWN.format(sha=SHA)
    again = "".join(file.splitlines(keepends=True)[6:9])

    found = problems_of(written(tmp_path, file + again))

    assert "each file name once" in found[0][1]
