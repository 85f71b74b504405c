"""A model behind an OpenAI-compatible address, asked as if it ran here.

The one door to it: HTTP without redirects and without proxies, under one time limit and a limit of bytes.
What comes back is text of a stranger; knows nothing of commands or of what the text is read as.

Source: OpenAI's chat completions, as Ollama, llama.cpp's server and vLLM speak them.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edge_node.errors import ConfigurationError, LargerModelFailed, PayloadInvalid
from edge_node.messages import Generation
from edge_node.payloads import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from edge_node.config.models import LargerModelConfig
    from edge_node.messages import Grammar, Turn

_MOST_BYTES = 256 * 1024
_MOST_DEPTH = 16
# A strange vocabulary is not counted exactly; three bytes a token is on the safe side for most.
_BYTES_A_TOKEN = 3
_OK = 200
# A server that tells no probabilities tells nothing of how sure it is.
_UNKNOWN = math.log(0.5)


class ChatService:
    """A model at an address; implements `edge_node.protocols.LanguageModel`.

    Args:
        config: Where it is and how it is spoken to; checked before.

    Raises:
        ConfigurationError: The key or the certificate authority cannot be read.
    """

    def __init__(self, config: LargerModelConfig) -> None:
        self._config = config
        parts = urlsplit(config.url)
        self._host, self._port = parts.hostname or "", parts.port
        self._path = f"{parts.path.rstrip('/')}/chat/completions"
        self._tls = _trust(config.ca_file) if parts.scheme == "https" else None
        self._key = _key(config.key_file)

    @property
    def name(self) -> str:
        """The model and where it is."""
        return f"{self._config.model} at {self._config.url}"

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._config.context

    def count(self, turns: Sequence[Turn]) -> int:
        """Return about how many tokens a prompt has, rather too many than too few."""
        return sum(len(turn.content.encode("utf-8")) // _BYTES_A_TOKEN + 8 for turn in turns)

    def prepare(self, system: Turn) -> None:
        """Do nothing: what is kept ready there is not ours."""

    def generate(
        self,
        turns: Sequence[Turn],
        *,
        grammar: Grammar,
        max_tokens: int,
        check: Callable[[], None] | None = None,
    ) -> Generation:
        """Return what the model wrote; whether it kept to the grammar is for the caller to see.

        Raises:
            LargerModelFailed: It was not reached, not in time, or what came is no chat completion.
        """
        if check:
            check()
        answer = self._exchange(_body(self._config.model, turns, grammar=grammar, max_tokens=max_tokens))
        if check:
            check()
        return self._read(answer)

    def _exchange(self, body: bytes) -> bytes:
        """Return the body of the answer to one request."""
        connection = self._connection()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        late = threading.Event()
        try:
            connection.connect()
            with _ended_after(connection, self._config.timeout, late):
                connection.request("POST", self._path, body=body, headers=headers)
                response = connection.getresponse()
                answer = response.read(_MOST_BYTES + 1)
        except (OSError, http.client.HTTPException, ValueError) as problem:
            why = f"nothing within {self._config.timeout:g} s" if late.is_set() else _told(problem)
            raise LargerModelFailed(self.name, came=why) from problem
        finally:
            connection.close()
        if late.is_set():
            raise LargerModelFailed(self.name, came=f"nothing whole within {self._config.timeout:g} s")
        if response.status != _OK:
            # A redirect would send words and key to an address that nobody wrote down.
            raise LargerModelFailed(self.name, came=f"HTTP status {response.status}")
        if len(answer) > _MOST_BYTES:
            raise LargerModelFailed(self.name, came=f"more than {_MOST_BYTES} bytes")
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._config.timeout)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._config.timeout, context=self._tls
        )

    def _read(self, answer: bytes) -> Generation:
        try:
            content = read_json(answer, max_bytes=_MOST_BYTES, max_depth=_MOST_DEPTH)
        except PayloadInvalid as problem:
            raise LargerModelFailed(self.name, came=str(problem)) from problem
        choice = _first(content, "choices")
        text = _object(_object(choice).get("message")).get("content")
        if not isinstance(text, str):
            raise LargerModelFailed(self.name, came="no text in choices[0].message.content")
        usage = _object(_object(content).get("usage"))
        return Generation(
            text=text.strip(),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            cached_tokens=0,
            tokens=_count(usage.get("completion_tokens")),
            forced_tokens=0,
            complete=_object(choice).get("finish_reason") == "stop",
            log_probability=_log_probability(_object(choice)),
        )


def _body(model: str, turns: Sequence[Turn], *, grammar: Grammar, max_tokens: int) -> bytes:
    schema = json.loads(grammar.source)
    schema.pop("x-guidance", None)
    body = {
        "model": model,
        "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": False,
        "logprobs": True,
        "response_format": {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}},
    }
    return json.dumps(body).encode("utf-8")


@contextmanager
def _ended_after(
    connection: http.client.HTTPConnection, timeout_s: float, late: threading.Event
) -> Generator[None, None, None]:
    """End the connection after a time, however little by little it is fed meanwhile."""
    line: socket.socket | None = connection.sock

    def end() -> None:
        late.set()
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _trust(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=_path(ca_file) if ca_file else None)
    except OSError as problem:
        raise ConfigurationError(
            f"larger_model.ca_file: expected a readable PEM file, came {problem}",
            field="larger_model.ca_file",
        ) from problem
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _key(key_file: str | None) -> str:
    if key_file is None:
        return ""
    try:
        key = _path(key_file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        key, why = "", str(problem)
    else:
        why = "a file without a key, or with a line break in it"
    if not key or not key.isprintable():
        raise ConfigurationError(
            f"larger_model.key_file: expected a readable file with one key, came {why}",
            hint="systemd passes secrets with LoadCredential= in $CREDENTIALS_DIRECTORY",
            field="larger_model.key_file",
        )
    return key


def _path(name: str) -> Path:
    return Path(os.path.expandvars(name)).expanduser()


def _told(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"a certificate that is not trusted: {problem.verify_message}"
    return str(problem) or type(problem).__name__


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: Any, key: str) -> Any:
    found = _object(value).get(key)
    return found[0] if isinstance(found, list) and found else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _log_probability(choice: Mapping[str, Any]) -> float:
    """Return the mean logarithm of the probability of the tokens, where the server tells them."""
    told = _object(choice.get("logprobs")).get("content")
    values = [_object(each).get("logprob") for each in told] if isinstance(told, list) else []
    known = [float(value) for value in values if isinstance(value, int | float) and value <= 0]
    return sum(known) / len(known) if known and len(known) == len(values) else _UNKNOWN
