"""Models on this machine: fetched, checked byte by byte, built, and found again.

Knows the folder of models and how a model gets from its sources to something that runs; knows
nothing of how it is run.

    <models>/<name>/model.gguf     a file of the catalogue: a language model
    <models>/<name>/model.onnx     or the export of an embedding model, with its tokenizer.json
    <models>/<name>/onnx/          what was built from these, with a manifest of its hashes
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from edge_node.errors import ModelCorrupt, ModelMissing, ModelUnsupported
from edge_node.model.build import build_model
from edge_node.model.catalogue import Kind
from edge_node.model.export import export_files
from edge_node.model.fetch import PARTIAL, fetch_file
from edge_node.model.manifest import (
    BUILT,
    GRAPH_FILE,
    MANIFEST_FILE,
    describe_file,
    read_manifest,
    verify_folder,
)
from edge_node.model.place import Place, alone
from edge_node.model.report import measure_build, read_report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_node.model.catalogue import Catalogue, ModelEntry, ModelFile
    from edge_node.model.report import BuildReport
    from edge_node.protocols import Progress


class ModelState(StrEnum):
    """How far a model has come on this machine."""

    MISSING = "missing"
    FETCHED = "fetched"
    READY = "ready"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model of the catalogue, and how far it has come on this machine.

    Attributes:
        name: Its name.
        entry: What the catalogue says about it.
        folder: Where it lies, or would lie.
        state: How far it has come.
        detail: What is wrong with it; empty where nothing is.
        bytes_on_disk: What its folder takes.
    """

    name: str
    entry: ModelEntry
    folder: Path
    state: ModelState
    detail: str
    bytes_on_disk: int


class ModelStore:
    """The models on this machine."""

    def __init__(self, folder: Path, *, catalogue: Catalogue) -> None:
        self._folder = folder
        self._catalogue = catalogue

    def ensure(self, name: str, *, progress: Progress) -> Path:
        """Return the folder of a model that is ready to run, fetching and building what is missing.

        A file with wrong bytes is named to `progress` and fetched again; built files with wrong bytes
        are named and built again.

        Args:
            name: Name in the catalogue, a path to a GGUF file, or a folder with an ONNX export.
            progress: Told what is done.

        Raises:
            ModelUnknown: The catalogue has no such model.
            ModelUnavailable: A file could not be fetched.
            ModelUnsupported: The model cannot be run.
            Unavailable: A source needs an optional library.
        """
        place = self._place(name)
        if not (place.files or place.sources):
            return place.ready
        with alone(place, progress=progress):
            for file in place.files:
                _ensure_file(place, file=file, progress=progress)
            if place.sources and not _built(place, progress=progress):
                _build(place, progress=progress)
        return place.ready

    def rebuild(self, name: str, *, bits: int | None = None, progress: Progress) -> Path:
        """Return the folder of a model whose ONNX files were built anew.

        Args:
            name: Name in the catalogue, or a path to a GGUF file.
            bits: Of the weights of a language model, 8 or 4; 8 where left out.
            progress: Told what is done.

        Raises:
            ModelUnknown: The catalogue has no such model.
            ModelUnsupported: The model is not one that is built, or cannot be run.
            ModelMissing: A file that it is built from is not on this machine.
            ModelCorrupt: Such a file is not the one the catalogue names.
        """
        place = self._place(name)
        if not place.sources:
            expected = "a GGUF file or an embedding model of the catalogue"
            raise ModelUnsupported(name, expected=expected, came="one that runs as it is")
        for file in place.files:
            _check_file(place, file=file)
        with alone(place, progress=progress):
            _build(place, bits=bits, progress=progress)
        return place.ready

    def measure(self, name: str, *, threads: int, progress: Progress) -> BuildReport | None:
        """Return what the build of a language model is worth against float32, measured now; None for others.

        Raises:
            ModelError: The model is not built, or cannot be run.
        """
        place = self._place(name)
        source = _gguf(place)
        if source is None:
            return None
        with alone(place, progress=progress):
            return measure_build(place.ready, gguf=source, threads=threads)

    def gguf(self, name: str) -> Path | None:
        """Return the GGUF file that a model is built from, or None where it is built from something else.

        Raises:
            ModelUnknown: The catalogue has no such model.
        """
        return _gguf(self._place(name))

    def report(self, name: str) -> BuildReport | None:
        """Return what was measured of a build; None where nothing was.

        Raises:
            ModelUnknown: The catalogue has no such model.
            ModelCorrupt: The report cannot be read.
        """
        return read_report(self._place(name).ready)

    def locate(self, name: str) -> Path:
        """Return the folder of a model that is ready to run, checked, without using the network.

        Where ONNX files were built, these alone are checked: nothing else is read at run time.

        Args:
            name: Name in the catalogue, a path to a GGUF file, or a folder with an ONNX export.

        Raises:
            ModelUnknown: The catalogue has no such model.
            ModelMissing: It is not on this machine, or not built.
            ModelCorrupt: A file does not have the bytes it should have.
        """
        place = self._place(name)
        if place.sources:
            _check_built(place)
        for file in () if place.sources else place.files:
            _check_file(place, file=file)
        return place.ready

    def describe(self, name: str) -> ModelStatus:
        """Return how far a model of the catalogue has come; reads and hashes all its files.

        Raises:
            ModelUnknown: The catalogue has no such model.
        """
        entry = self._catalogue.entry(name)
        place = self._place(name)
        state, detail = _state(place)
        return ModelStatus(name, entry, place.folder, state, detail, _size_of(place.folder))

    def describe_all(self) -> tuple[ModelStatus, ...]:
        """Return how far each model of the catalogue has come, sorted by name."""
        return tuple(self.describe(name) for name in sorted(self._catalogue.models))

    def _place(self, name: str) -> Place:
        if "/" in name or name.endswith(".gguf"):
            return self._own_place(name)
        entry = self._catalogue.entry(name)
        folder = self._folder / name
        sources = {folder / file.name: file.sha256 for file in _sources(entry)}
        return Place(name, folder, entry.files, sources=sources)

    def _own_place(self, name: str) -> Place:
        """Return the place of a model that is named by a path instead of by the catalogue."""
        path = Path(name).expanduser().resolve()
        if (path.is_dir() and not (path / MANIFEST_FILE).is_file()) or path.suffix == ".onnx":
            sources = {file: describe_file(file).sha256 for file in export_files(path)}
            if sources:
                digest = hashlib.sha256("".join(sources.values()).encode()).hexdigest()
                return Place(name, self._folder / f"{path.stem}-{digest[:12]}", sources=sources)
        if path.is_dir():
            return Place(name, path)
        if not path.is_file() or path.suffix != ".gguf":
            came = "another file" if path.is_file() else "nothing there"
            raise ModelUnsupported(
                path, expected="a GGUF file, or an ONNX export with config.json and tokenizer.json", came=came
            )
        digest = describe_file(path).sha256
        # The digest tells apart two files of one name, and a file that was replaced by another.
        folder = self._folder / f"{path.stem}-{digest[:12]}"
        return Place(name, folder, sources={path: digest})


def _gguf(place: Place) -> Path | None:
    return next((path for path in place.sources if path.suffix == ".gguf"), None)


def _sources(entry: ModelEntry) -> tuple[ModelFile, ...]:
    """Return the files that ONNX files are built from, the model itself first; none where none are built."""
    if entry.gguf:
        return (entry.gguf,)
    if entry.kind is not Kind.EMBEDDING or GRAPH_FILE not in {file.name for file in entry.files}:
        return ()
    return tuple(sorted(entry.files, key=lambda file: file.name != GRAPH_FILE))


def _ensure_file(place: Place, *, file: ModelFile, progress: Progress) -> None:
    try:
        _check_file(place, file=file)
    except ModelMissing:
        fetch_file(file, model=place.name, folder=place.folder, progress=progress)
    except ModelCorrupt as error:
        progress.note(f"{error}; it is fetched again")
        fetch_file(file, model=place.name, folder=place.folder, progress=progress)


def _check_file(place: Place, *, file: ModelFile) -> None:
    path = place.folder / file.name
    if not path.is_file():
        raise ModelMissing(place.name)
    try:
        came = f"sha256 {describe_file(path).sha256}"
    except OSError as error:
        came = str(error.strerror)  # a card that wears out
    if came != f"sha256 {file.sha256}":
        raise ModelCorrupt(path, expected=f"sha256 {file.sha256}", came=came, hint=_way_out(place))


def _built(place: Place, *, progress: Progress) -> bool:
    try:
        _check_built(place)
    except ModelMissing:
        return False
    except ModelCorrupt as error:
        progress.note(f"{error}; it is built again")
        return False
    return True


def _check_built(place: Place) -> None:
    try:
        verify_folder(place.ready)
        came_from = read_manifest(place.ready).sources
    except ModelMissing as error:
        raise ModelMissing(place.name) from error
    except ModelCorrupt as error:
        error.hint = _way_out(place)
        raise
    except OSError as error:
        came = str(error.strerror)
        raise ModelCorrupt(
            place.ready, expected="files that can be read", came=came, hint=_way_out(place)
        ) from error
    sources = {path.name: digest for path, digest in place.sources.items()}
    if came_from != sources:
        raise ModelCorrupt(
            place.ready,
            expected=f"built from {_listed(sources)}",
            came=f"from {_listed(came_from)}",
            hint=_way_out(place),
        )


def _listed(files: Mapping[str, str]) -> str:
    return ", ".join(f"{name} with sha256 {digest}" for name, digest in sorted(files.items()))


def _way_out(place: Place) -> str:
    return f"edge-node model pull {place.name}"


def _build(place: Place, *, bits: int | None = None, progress: Progress) -> None:
    """Build under a name that marks it as unfinished, and put it in its place once it is whole."""
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=place.folder) as scratch:
        fresh = Path(scratch) / BUILT
        steps = _steps(progress, f"{place.name}: ONNX files")
        build_model(tuple(place.sources), fresh, bits=bits, progress=steps)
        progress.finish()
        if place.ready.exists():
            shutil.rmtree(place.ready)
        fresh.rename(place.ready)


def _steps(progress: Progress, label: str) -> Callable[[int, int], None]:
    """Return what takes steps done and steps in all, and starts the bar with the first of them."""
    started = False

    def report(done: int, total: int) -> None:
        nonlocal started
        if not started:
            progress.start(label, total)
            started = True
        progress.advance(done)

    return report


def _state(place: Place) -> tuple[ModelState, str]:
    try:
        for file in place.files:
            _check_file(place, file=file)
    except ModelMissing:
        return ModelState.MISSING, ""
    except ModelCorrupt as error:
        return ModelState.CORRUPT, str(error)
    if not place.sources:
        return ModelState.READY, ""
    try:
        _check_built(place)
    except ModelMissing:
        return ModelState.FETCHED, ""
    except ModelCorrupt as error:
        return ModelState.CORRUPT, str(error)
    return ModelState.READY, ""


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
