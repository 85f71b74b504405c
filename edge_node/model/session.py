"""Running ONNX models: plain ones, and decoders that keep keys and values.

The only place that knows the `onnxruntime` library. Knows nothing of text, grammars or what a model is for.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

# Before the library is loaded: its wheels hold a client that tells their maker of what is run.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from edge_node.errors import ContextExceeded, ModelCorrupt, ModelError, ModelMissing, ModelUnsupported
from edge_node.model.memory import forget, mapped_ranges, trim_heap, zeros
from edge_node.model.processor import adds_products_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_ERRORS_ONLY = 3
_CHUNK = 64  # tokens read at once: bounds the scores of attention, and costs no measurable speed
_SPIN_US = 100
_PAST = re.compile(r"past_key_values\.\d+\.(?:key|value)")
_POSITIONS = "positions"
_SIDE = re.compile(r".+\.lora_[ab]")
_KEPT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8}
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
        inputs: Type and shape of each input.
        output_names: Names of its outputs, in order.
        logits_width: Length of the last axis of an output `logits`; 0 where there is none of a fixed length.
        runtime: What runs it, so that what one version computed can be told from another's.
    """

    runtime = f"onnxruntime {onnxruntime.__version__} {platform.machine()}"

    def __init__(self, path: Path, *, session: onnxruntime.InferenceSession) -> None:
        self.path = path
        self.inputs = {str(item.name): (str(item.type), tuple(item.shape)) for item in session.get_inputs()}
        self.input_names = tuple(self.inputs)
        outputs = {str(item.name): item for item in session.get_outputs()}
        self.output_names = tuple(outputs)
        width = outputs["logits"].shape[-1] if "logits" in outputs else 0
        self.logits_width = width if isinstance(width, int) else 0
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


@dataclass(frozen=True, slots=True)
class Adapter:
    """What was trained on top of a base model, as ONNX Runtime keeps it.

    Attributes:
        path: The file it was read from.
        base: Number of the base model, as the file names it.
        parameters: Matrices by the names of the inputs they belong to.
    """

    path: Path
    base: int
    parameters: Mapping[str, onnxruntime.OrtValue]

    def changed(self, change: Callable[[str, NDArray[np.float32]], NDArray[np.float32]]) -> Adapter:
        """Return an adapter with each matrix as `change` makes it, given its name and itself."""
        made = {name: change(name, value.numpy()) for name, value in self.parameters.items()}
        return Adapter(self.path, self.base, _values(made))


def read_adapter(path: Path) -> Adapter:
    """Return the adapter in an .onnx_adapter file.

    Raises:
        ModelCorrupt: There is none, or it cannot be read.
    """
    if not path.is_file():
        raise ModelCorrupt(path, expected="an adapter", came="no file")
    try:
        found = onnxruntime.AdapterFormat.read_adapter(str(path))
        given = dict(found.get_parameters())
    except (*_FAULTS, RuntimeError, ValueError) as error:
        raise ModelCorrupt(path, expected="an .onnx_adapter file", came=_first_line(error)) from error
    # The library lays arrays over the file without asking whether they end within it.
    if sum(value.tensor_size_in_bytes() for value in given.values()) > path.stat().st_size:
        raise ModelCorrupt(path, expected="an .onnx_adapter file", came="matrices larger than the file")
    parameters = {name: _in_float(value) for name, value in given.items()}
    return Adapter(path, int(found.get_model_version()), parameters)


def _in_float(value: onnxruntime.OrtValue) -> onnxruntime.OrtValue:
    """Return a matrix in 32 bits, in which it is run; a file may hold it in 16."""
    if value.data_type() != "tensor(float16)":
        return value
    return onnxruntime.OrtValue.ortvalue_from_numpy(value.numpy().astype(np.float32))


def write_adapter(
    path: Path, *, parameters: Mapping[str, NDArray[np.float32]], base: int, half: bool = False
) -> None:
    """Write an adapter in ONNX Runtime's own format; it appears only once it is whole.

    Args:
        path: The .onnx_adapter file.
        parameters: Matrices by the names of the inputs they belong to.
        base: Number of the base model.
        half: Whether the file holds them in 16 bits, at half the size.
    """
    # The library copies none before it writes.
    values = _values(parameters, kind=np.float16 if half else np.float32)
    whole = onnxruntime.AdapterFormat()
    whole.set_adapter_version(1)
    whole.set_model_version(base)
    whole.set_parameters(values)
    aside = path.with_name(f".{path.name}.partial")
    whole.export_adapter(str(aside))
    aside.replace(path)


def _values(
    matrices: Mapping[str, NDArray[np.float32]], *, kind: type[np.float16 | np.float32] = np.float32
) -> dict[str, onnxruntime.OrtValue]:
    # Copies: what is given may lie over a file that is closed before these are used.
    return {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(np.array(each, kind, order="C"))
        for name, each in matrices.items()
    }


class KvSession:
    """A decoder with the keys and values of the tokens it has read.

    The buffers are as long as the context, and memory is taken only for what has been read. To forget
    the end of what was read, run on from a smaller position.

    No run after the first reads one token alone: ONNX Runtime rounds attention over a single row otherwise
    than over several, and activations of 8 bits make that a difference of words. So what a position
    comes to does not depend on how the tokens before it were cut into runs.

    Attributes:
        length: Tokens that fit.
        vocabulary: Length of the logits.
        looks_ahead: Whether one run can return the logits of several positions.
        layout: Type and shape of what is kept of one token; runtime and machine that wrote it.
    """

    def __init__(self, path: Path, *, session: onnxruntime.InferenceSession, length: int) -> None:
        self.length = length
        self._path = path
        self._session = session
        self._binding = session.io_binding()
        self._mapped = _weights(path)
        pasts = [item for item in session.get_inputs() if _PAST.fullmatch(item.name)]
        logits = {item.name: item for item in session.get_outputs()}.get("logits")
        if not pasts or logits is None:
            raise ModelUnsupported(
                path, expected="inputs past_key_values.N.key and an output logits", came="others"
            )
        self._cache = self._bind_cache(pasts)
        self.layout = f"{_kept_shape(self._cache)} onnxruntime {onnxruntime.__version__} {platform.machine()}"
        self._tokens = np.zeros(length, np.int64)
        self.vocabulary = int(logits.shape[-1])
        self.looks_ahead = any(item.name == _POSITIONS for item in session.get_inputs())
        self._logits = np.zeros((0, self.vocabulary), np.float32)
        self._bind_logits(1)
        self._adaptable = {
            str(item.name): tuple(width if isinstance(width, int) else None for width in item.shape)
            for item in session.get_overridable_initializers()
            if _SIDE.fullmatch(item.name)
        }

    def check_adapter(self, adapter: Adapter) -> None:
        """Make sure that an adapter fits.

        Raises:
            ModelUnsupported: It has matrices that the model has no place for, or of other widths.
        """
        for name, matrix in adapter.parameters.items():
            other = adapter.parameters.get(name[:-1] + ("b" if name.endswith("a") else "a"))
            wanted = self._adaptable.get(name)
            if wanted is None or other is None:
                raise ModelUnsupported(
                    adapter.path, expected="pairs of matrices that the base has a place for", came=name
                )
            shape, rank_axis = tuple(matrix.shape()), wanted.index(None)
            fits = len(shape) == len(wanted) and shape[1 - rank_axis] == wanted[1 - rank_axis]
            rank = other.shape()[1 - rank_axis]
            if matrix.data_type() != "tensor(float)" or not fits or shape[rank_axis] != rank:
                came = f"{matrix.data_type()} {shape}"
                raise ModelUnsupported(adapter.path, expected=f"{name} as the base has it", came=came)

    def adapt(self, adapter: Adapter | None) -> None:
        """Run with an adapter that was checked from now on, or without one; keys and values read are void."""
        given = {} if adapter is None else adapter.parameters
        for name, shape in self._adaptable.items():
            empty = np.zeros([width or 0 for width in shape], np.float32)
            value = given.get(name) or onnxruntime.OrtValue.ortvalue_from_numpy(empty)
            self._binding.bind_ortvalue_input(name, value)

    def run(self, tokens: NDArray[np.int64], *, position: int, last: int = 1) -> NDArray[np.float32]:
        """Read tokens, and return what may follow the last of them.

        Args:
            tokens: Shape (n,), int64, n at least 1, each in [0, vocabulary).
            position: Tokens read before these; what was read from there on is overwritten.
            last: How many positions at the end to return, from 1 to n; 1 unless `looks_ahead`.

        Returns:
            Logits, shape (last, vocabulary), float32; overwritten by the next run.

        Raises:
            ContextExceeded: They do not fit the buffers.
            ModelError: The model cannot be run on them.
        """
        end = position + len(tokens)
        if end > self.length:
            raise ContextExceeded(tokens=end, limit=self.length)
        self._tokens[position:end] = tokens
        try:
            for start, stop in self._pieces(position, end, last=last):
                self._read(start, stop, wanted=last if stop == end else 0)
                if stop < end:  # the embeddings of a long prompt lie on many pages
                    forget(self._mapped)
        except (*_FAULTS, ValueError) as error:
            raise _run_error(self._path, error) from error
        return self._logits

    def snapshot(self, tokens: int) -> NDArray[Any]:
        """Return a copy of the keys and values of the first tokens.

        Returns:
            Shape (buffers, heads, tokens, head_size), in the type of the model's cache.
        """
        return self._cache[:, :, :tokens].copy()

    def restore(self, kept: NDArray[Any], tokens: Sequence[int]) -> None:
        """Take up keys and values of the first tokens in place of reading them.

        Args:
            kept: What `snapshot` returned, of as many tokens or more.
            tokens: The tokens.
        """
        self._cache[:, :, : len(tokens)] = kept[:, :, : len(tokens)]
        self._tokens[: len(tokens)] = tokens

    def _pieces(self, position: int, end: int, *, last: int) -> Iterator[tuple[int, int]]:
        """Yield where each run begins and ends; the last one holds all positions that are wanted."""
        start = position
        while end - start > max(_CHUNK, last):
            stop = min(start + _CHUNK, end - max(last, 2))
            yield start, stop
            start = stop
        yield (start - 1 if end - start == 1 and start > 0 else start), end

    def _read(self, start: int, stop: int, *, wanted: int) -> None:
        bind = self._binding.bind_cpu_input
        bind("input_ids", self._tokens[np.newaxis, start:stop])
        bind("seqlens_k", np.array([stop - 1], np.int32))
        bind("total_sequence_length", np.array(stop, np.int32))
        if self.looks_ahead:
            bind(_POSITIONS, np.arange(stop - start - wanted, stop - start))
            self._bind_logits(wanted)
        self._session.run_with_iobinding(self._binding)

    def _bind_logits(self, rows: int) -> None:
        if len(self._logits) != rows:
            self._logits = np.zeros((rows, self.vocabulary), np.float32)
            shaped = self._logits[np.newaxis] if self.looks_ahead else self._logits
            self._binding.bind_ortvalue_output("logits", onnxruntime.OrtValue.ortvalue_from_numpy(shaped))

    def _bind_cache(self, pasts: Sequence[Any]) -> NDArray[Any]:
        """Let past and present be one buffer for each input; return all as one array."""
        kinds = {(item.type, item.shape[1], item.shape[3]) for item in pasts}
        if len(kinds) > 1 or (kind := next(iter(kinds)))[0] not in _KEPT_TYPES:
            raise ModelUnsupported(
                self._path, expected="one shape and a type among " + ", ".join(_KEPT_TYPES), came=str(kinds)
            )
        kind_name, heads, head_size = kind
        cache = zeros((len(pasts), heads, self.length, head_size), _KEPT_TYPES[kind_name])
        for item, buffer in zip(pasts, cache, strict=True):
            value = onnxruntime.OrtValue.ortvalue_from_numpy(buffer[np.newaxis])
            self._binding.bind_ortvalue_input(item.name, value)
            self._binding.bind_ortvalue_output(item.name.replace("past_key_values", "present"), value)
        return cache


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
    # Its own arena would keep the scratch memory of the longest prompt (14 MB), and spares no time.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin between operators for a moment, and never between runs, gain a quarter on an idle
    # machine; those that spin as long as they like lose half on a busy one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not adds_products_exactly():
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _FAULTS as error:
        raise ModelCorrupt(path, expected="an ONNX model that loads", came=_first_line(error)) from error
    # Weights in the .onnx file itself are parsed onto the heap and copied from there (61 MB for a 23 MB
    # export); mapped ones are copied into the layout that multiplies fastest. Neither is read again, but
    # for the few embeddings that a prompt needs.
    trim_heap()
    forget(_weights(path))
    return session


def _weights(path: Path) -> list[tuple[int, int]]:
    """Return where what lies beside a graph is mapped; two graphs may share it, under the name of one."""
    return [found for data in path.parent.glob("*.onnx.data*") for found in mapped_ranges(data)]


def _kept_shape(cache: NDArray[Any]) -> str:
    buffers, heads, _, head_size = cache.shape
    return f"{cache.dtype} {buffers}x{heads}x{head_size}"


def _run_error(path: Path, error: Exception) -> ModelError:
    return ModelError(f"model {path}: expected a run to end well, came {_first_line(error)}", field="model")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
