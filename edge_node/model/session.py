"""Running ONNX models: plain ones, and decoders that keep keys and values.

The only place that knows the `onnxruntime` library. Knows nothing of text, grammars or what a model is for.
"""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from edge_node.errors import ContextExceeded, ModelCorrupt, ModelError, ModelMissing, ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_ERRORS_ONLY = 3
_CHUNK = 128  # tokens read at once: bounds the scores of attention, and costs no measurable speed
_PAST = re.compile(r"past_key_values\.(\d+\.(?:key|value))")
_FAULTS = (
    native.EPFail,
    native.EngineError,
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.ModelLoaded,
    native.NoModel,
    native.NoSuchFile,
    native.NotImplemented,
    native.RuntimeException,
)


class Session:
    """An ONNX model that is ready to run.

    Attributes:
        path: The file it was read from.
        input_names: Names of its inputs, in order.
    """

    def __init__(self, path: Path, *, session: onnxruntime.InferenceSession) -> None:
        self.path = path
        self.input_names = tuple(str(item.name) for item in session.get_inputs())
        self._session = session

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return all outputs for one set of inputs, in the order of the graph.

        Raises:
            ModelError: The model cannot be run on these inputs.
        """
        try:
            outputs: list[NDArray[Any]] = self._session.run(None, dict(inputs))
        except (*_FAULTS, ValueError) as error:
            raise _run_error(self.path, error) from error
        return outputs


class KvSession:
    """A decoder with the keys and values of the tokens it has read.

    The buffers are as long as the context, and memory is taken only for what has been read. To forget
    the end of what was read, run on from a smaller position.

    Attributes:
        length: Tokens that fit.
        vocabulary: Length of the logits.
    """

    def __init__(self, path: Path, *, session: onnxruntime.InferenceSession, length: int) -> None:
        self.length = length
        self._path = path
        self._session = session
        self._binding = session.io_binding()
        found = False
        for item in session.get_inputs():
            if past := _PAST.fullmatch(item.name):
                found = True
                self._bind_cache(item, present=f"present.{past[1]}")
        logits = {item.name: item for item in session.get_outputs()}.get("logits")
        if not found or logits is None:
            raise ModelUnsupported(
                path, expected="inputs past_key_values.N.key and an output logits", came="others"
            )
        self.vocabulary = int(logits.shape[-1])
        self._logits = np.zeros((1, self.vocabulary), np.float32)
        self._binding.bind_ortvalue_output("logits", onnxruntime.OrtValue.ortvalue_from_numpy(self._logits))

    def run(self, tokens: NDArray[np.int64], *, position: int) -> NDArray[np.float32]:
        """Read tokens, and return what may follow the last of them.

        Args:
            tokens: Shape (n,), int64, n at least 1, each in [0, vocabulary).
            position: Tokens read before these; what was read from there on is overwritten.

        Returns:
            Logits, shape (vocabulary,), float32.

        Raises:
            ContextExceeded: They do not fit the buffers.
            ModelError: The model cannot be run on them.
        """
        if position + len(tokens) > self.length:
            raise ContextExceeded(tokens=position + len(tokens), limit=self.length)
        try:
            for start in range(0, len(tokens), _CHUNK):
                self._read(tokens[start : start + _CHUNK], position=position + start)
        except (*_FAULTS, ValueError) as error:
            raise _run_error(self._path, error) from error
        logits: NDArray[np.float32] = self._logits[0].copy()
        return logits

    def _read(self, tokens: NDArray[np.int64], *, position: int) -> None:
        total = position + len(tokens)
        self._binding.bind_cpu_input("input_ids", np.ascontiguousarray(tokens[np.newaxis], np.int64))
        self._binding.bind_cpu_input("seqlens_k", np.array([total - 1], np.int32))
        self._binding.bind_cpu_input("total_sequence_length", np.array(total, np.int32))
        self._session.run_with_iobinding(self._binding)

    def _bind_cache(self, past: Any, *, present: str) -> None:
        _, heads, _, head_size = past.shape
        buffer = np.zeros((1, heads, self.length, head_size), np.float32)
        value = onnxruntime.OrtValue.ortvalue_from_numpy(buffer)
        self._binding.bind_ortvalue_input(past.name, value)
        self._binding.bind_ortvalue_output(present, value)


def open_session(path: Path, *, threads: int) -> Session:
    """Return an ONNX model that is ready to run.

    Args:
        path: The .onnx file.
        threads: Threads for one run.

    Raises:
        ModelMissing: There is no such file.
        ModelCorrupt: It cannot be loaded.
    """
    return Session(path, session=_load(path, threads=threads))


def open_kv_session(path: Path, *, threads: int, length: int) -> KvSession:
    """Return a decoder that has read nothing yet.

    Args:
        path: The .onnx file; its weights lie beside it.
        threads: Threads for one run.
        length: Tokens that are to fit.

    Raises:
        ModelMissing: There is no such file.
        ModelCorrupt: It cannot be loaded.
        ModelUnsupported: It is not a decoder that keeps keys and values.
    """
    return KvSession(path, session=_load(path, threads=threads), length=length)


def _load(path: Path, *, threads: int) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise ModelMissing(path.parent.name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin between operators gain a fifth on an idle machine and lose half on a busy one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _FAULTS as error:
        raise ModelCorrupt(path, expected="an ONNX model that loads", came=_first_line(error)) from error
    _give_back()
    return session


def _give_back() -> None:
    """Return what only loading needed to the system.

    Weights in the .onnx file itself are parsed onto the heap and copied from there; glibc would keep those
    pages (61 MB for a 23 MB export). Built models, whose weights are mapped, leave next to nothing.
    Where the C library has no malloc_trim, its allocator decides.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _run_error(path: Path, error: Exception) -> ModelError:
    return ModelError(f"model {path}: expected a run to end well, came {_first_line(error)}", field="model")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
