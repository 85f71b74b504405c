"""An engine in a process of its own: asked and answering in lines of JSON, so that its memory is its own.

Knows pipes and processes; knows nothing of what is asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import IO, Self

_ENDS_WITHIN_S = 30.0
_QUIET = {"ORT_DISABLE_TELEMETRY": "1"}  # ONNX Runtime's libraries would tell their maker of each run


class EngineProcess:
    """An engine that was started and has loaded its model.

    Args:
        module: What to run; its `main` takes the settings and answers until it is closed.
        settings: What the engine needs to know, as JSON.

    Attributes:
        ready_s: Time from the start of the process until the model was loaded.
        loaded: What the engine told of its loading.

    Raises:
        ModelError: The process ended instead.
    """

    def __init__(self, module: str, *, settings: Mapping[str, Any]) -> None:
        self._module = module
        began_s = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with a module of this package
            [sys.executable, "-m", module, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_QUIET},
            text=True,
        )
        try:
            self.loaded = self._answer()
        except ModelError:
            self.close()
            raise
        self.ready_s = time.perf_counter() - began_s

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        """Return what the engine answers.

        Raises:
            ModelError: The process ended instead.
        """
        line = json.dumps({"what": what, **details})
        pipe = self._pipe(self._process.stdin)
        try:
            pipe.write(line + "\n")
            pipe.flush()
        except BrokenPipeError as error:
            raise self._ended() from error
        return self._answer()

    def close(self) -> None:
        """End the process, with patience first."""
        self._pipe(self._process.stdin).close()
        try:
            self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe(self._process.stdout).close()

    def _answer(self) -> dict[str, Any]:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> ModelError:
        code = self._process.wait()
        return ModelError(
            f"{self._module}: expected an answer, came the end of its process with exit status {code}; "
            "what it wrote stands above",
            field="engine",
        )

    def _pipe(self, pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise ModelError(f"{self._module}: expected a pipe to its process, came none")
        return pipe


class Spent:
    """What passes from its making on, on the clock and of the processor."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()
        self._processor_s = time.process_time()

    def until_now(self) -> dict[str, float]:
        """Return `s` and `processor_s`; the second hardly knows what else runs on the machine."""
        return {
            "s": time.perf_counter() - self._began_s,
            "processor_s": time.process_time() - self._processor_s,
        }


def answer_until_closed(
    loaded: Mapping[str, Any], *, answers: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]
) -> None:
    """Tell what was loaded, then answer each line of standard input until that is closed.

    Args:
        loaded: The first answer.
        answers: What can be asked, and what answers it.
    """
    _write(loaded)
    for line in sys.stdin:
        asked = json.loads(line)
        _write(answers[asked["what"]](asked))


def keep_output_for_answers() -> None:
    """Send log lines to standard error."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _write(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
