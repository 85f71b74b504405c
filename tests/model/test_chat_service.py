from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.config.models import LargerModelConfig
from edge_node.errors import ConfigurationError, Interrupted, LargerModelFailed
from edge_node.messages import Grammar, Turn
from edge_node.model.chat_service import ChatService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TURNS = [Turn("system", "You turn words into a command."), Turn("user", "Operator: <<stop pump two>>")]
GRAMMAR = Grammar(json.dumps({"x-guidance": {"whitespace_flexible": False}, "anyOf": [{"type": "object"}]}))
CALL = '{"command":"stop","arguments":{"pump":"pump-2"}}'


def completion(text: Any, *, reason: str = "stop", **more: Any) -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason, **more}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 40, "completion_tokens": 12}}).encode()


class ChatServer(ThreadingHTTPServer):
    """A server on a socket that answers what a test tells it to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: bytes | None = completion(CALL)
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: a client that has gone is what some tests are about."""


class _Answering(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), json.loads(content)))
        if self.server.body is None:
            # Little by little: each byte comes before a limit on one read would end it.
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while not self.server.released.wait(0.02):
                self.wfile.write(b" ")
            return
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of the base
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


def ask(server: ChatServer, **keys: Any) -> str:
    service = ChatService(LargerModelConfig(url=server.url, model="big", **keys))
    return service.generate(TURNS, grammar=GRAMMAR, max_tokens=64).text


def test_what_the_model_writes_comes_back_with_its_counts(server: ChatServer) -> None:
    service = ChatService(LargerModelConfig(url=server.url, model="big"))
    written = service.generate(TURNS, grammar=GRAMMAR, max_tokens=64)
    assert (written.text, written.complete, written.prompt_tokens, written.tokens) == (CALL, True, 40, 12)


def test_the_request_carries_the_chat_and_the_schema(server: ChatServer) -> None:
    ask(server)
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers
    assert body["messages"][1] == {"role": "user", "content": "Operator: <<stop pump two>>"}
    assert body["response_format"]["json_schema"]["schema"] == {"anyOf": [{"type": "object"}]}
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream"]) == ("big", 64, 0, False)


def test_the_key_comes_from_its_file(server: ChatServer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    ask(server, key_file=str(tmp_path / "key"))
    assert server.asked[0][1]["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("content", [b"", b"one\r\nX-Injected: two", b"\xff"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    config = LargerModelConfig(url="http://127.0.0.1:1/v1", model="big", key_file=str(tmp_path / "key"))
    with pytest.raises(ConfigurationError, match="key_file"):
        ChatService(config)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        completion(None),
        completion({"command": "stop"}),
        b'{"choices": ' + b"[" * 500 + b"]" * 500 + b"}",
        completion("x" * 300_000),
        b"\xff\xfe",
    ],
)
def test_what_is_no_chat_completion_is_refused(server: ChatServer, body: bytes) -> None:
    server.body = body
    with pytest.raises(LargerModelFailed, match="expected a chat completion"):
        ask(server)


def test_a_redirect_is_not_followed(server: ChatServer) -> None:
    server.status, server.headers = 307, {"Location": f"{server.url}/elsewhere"}
    with pytest.raises(LargerModelFailed, match="status 307"):
        ask(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_an_error_of_the_server_is_told_with_its_status(server: ChatServer, status: int) -> None:
    server.status = status
    with pytest.raises(LargerModelFailed, match=f"status {status}"):
        ask(server)


def test_a_server_that_feeds_byte_by_byte_is_left_after_the_time_limit(server: ChatServer) -> None:
    server.body = None
    with pytest.raises(LargerModelFailed, match=r"within 0\.3 s"):
        ask(server, timeout="300ms")


def test_a_server_that_is_not_there_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        config = LargerModelConfig(url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", model="big")
        with pytest.raises(LargerModelFailed):
            ChatService(config).generate(TURNS, grammar=GRAMMAR, max_tokens=8)


def test_a_proxy_of_the_environment_is_not_used(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert ask(server) == CALL


def test_a_text_that_was_cut_off_is_not_complete(server: ChatServer) -> None:
    server.body = completion(CALL[:10], reason="length")
    service = ChatService(LargerModelConfig(url=server.url, model="big"))
    assert not service.generate(TURNS, grammar=GRAMMAR, max_tokens=8).complete


def test_how_sure_it_was_is_taken_from_the_server_where_it_tells(server: ChatServer) -> None:
    service = ChatService(LargerModelConfig(url=server.url, model="big"))
    unknown = service.generate(TURNS, grammar=GRAMMAR, max_tokens=8).log_probability
    server.body = completion(CALL, logprobs={"content": [{"logprob": -0.1}, {"logprob": -0.3}]})
    told = service.generate(TURNS, grammar=GRAMMAR, max_tokens=8).log_probability
    assert told == pytest.approx(-0.2)
    assert unknown < told


def test_a_request_that_is_not_wanted_any_more_is_not_sent(server: ChatServer) -> None:
    def unwanted() -> None:
        raise Interrupted

    service = ChatService(LargerModelConfig(url=server.url, model="big"))
    check: Callable[[], None] = unwanted
    with pytest.raises(Interrupted):
        service.generate(TURNS, grammar=GRAMMAR, max_tokens=8, check=check)
    assert server.asked == []
