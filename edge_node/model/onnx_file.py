"""ONNX files: their nodes, their weights, and the model around them.

The only place that knows the `onnx` library. Knows nothing of what a graph is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper, numpy_helper

from edge_node.errors import ModelCorrupt
from edge_node.model.quantise import (
    BLOCK,
    block_of,
    columns_with_offsets,
    quantise,
    quantise_rows,
    quantise_to_4_bits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

DATA_FILE = "model.onnx.data"
MICROSOFT = "com.microsoft"
_OPERATORS, _MICROSOFT_OPERATORS, _LAYOUT = 21, 1, 10
_INT8_ACTIVATIONS = 4
_PAGE = 4096


class Kind(IntEnum):
    """Type of the elements of a tensor.

    Source: the ONNX specification, TensorProto.DataType.
    """

    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    INT32 = 6
    INT64 = 7
    FLOAT16 = 10


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a matrix lies in the data file.

    Attributes:
        bits: Of each value; 32 where it is float32 and has values alone.
        rows: Outputs.
        columns: Inputs.
        values_at: Offset of the values.
        scales_at: Offset of the scales; None where there are none.
        zeros_at: Offset of what stands for zero in each block; None where it is the middle.
    """

    bits: int
    rows: int
    columns: int
    values_at: int
    scales_at: int | None = None
    zeros_at: int | None = None

    @property
    def block(self) -> int:
        """Inputs that share a scale."""
        return block_of(self.columns) if self.bits == 8 else BLOCK  # noqa: PLR2004

    @property
    def blocks(self) -> int:
        """Blocks in one row."""
        return -(-self.columns // self.block)


class Weights:
    """Initializers of a graph; the large ones lie in the data file, to be mapped instead of read.

    Attributes:
        tensors: The initializers.
    """

    def __init__(self, data: BinaryIO) -> None:
        self.tensors: list[TensorProto] = []
        self._data = data

    def small(self, name: str, values: NDArray[Any]) -> str:
        """Add an initializer that lies in the graph; return its name."""
        self.tensors.append(numpy_helper.from_array(values, name))
        return name

    def start(self) -> int:
        """Return the offset of what is written next, at the start of a page."""
        self._data.write(bytes(-self._data.tell() % _PAGE))
        return self._data.tell()

    def write(self, values: NDArray[Any]) -> None:
        """Append values to the data file."""
        self._data.write(np.ascontiguousarray(values).data)

    def large(self, name: str, kind: Kind, shape: Sequence[int], offset: int) -> str:
        """Add an initializer that was written to the data file; return its name."""
        tensor = onnx.TensorProto(
            name=name, data_type=kind, dims=shape, data_location=onnx.TensorProto.EXTERNAL
        )
        length = int(np.prod(shape)) * helper.tensor_dtype_to_np_dtype(kind).itemsize
        for key, value in (("location", DATA_FILE), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)
        return name

    def add(self, name: str, values: NDArray[Any]) -> str:
        """Write values to the data file as one initializer; return its name."""
        offset = self.start()
        self.write(values)
        return self.large(name, Kind(helper.np_dtype_to_tensor_dtype(values.dtype)), values.shape, offset)

    def matrix(self, slabs: Iterable[NDArray[np.float32]], *, bits: int) -> Stored:
        """Write a matrix in 32, 8 or 4 bits; return where it lies."""
        values_at = self.start()
        rows = columns = 0
        beside = []
        for slab in slabs:
            values, *slab_beside = _STORED[bits](slab)
            self.write(values)
            beside.append(slab_beside)
            rows += slab.shape[0]
            columns = columns_with_offsets(slab.shape[1]) if bits == 4 else slab.shape[1]  # noqa: PLR2004
        offsets = []
        for joined in (np.concatenate(each) for each in zip(*beside, strict=True)):
            offsets.append(self.start())
            self.write(joined)
        return Stored(bits, rows, columns, values_at, *offsets)

    def by_rows(self, name: str, rows: NDArray[np.float32]) -> list[str]:
        """Add a matrix in 8 bits, laid out to be multiplied in whole numbers, with a scale for each row.

        Args:
            name: What to call it.
            rows: Shape (N, K), float32.

        Returns:
            Names of the values, shape (K, N), int8, and of the scales, shape (N,), float32.
        """
        values, scales = quantise_rows(rows)
        return [self.add(f"{name}.values", values.T), self.add(f"{name}.scales", scales)]

    def parts(self, name: str, stored: Stored) -> list[str]:
        """Add the initializers of a matrix that was written: values, and scales and zeros it has."""
        rows, blocks = stored.rows, stored.blocks
        if stored.scales_at is None:
            shape: tuple[int, ...] = (rows, stored.columns)
            return [self.large(f"{name}.values", Kind.FLOAT, shape, stored.values_at)]
        shape = (rows, blocks, stored.block * stored.bits // 8)
        names = [
            self.large(f"{name}.values", Kind.UINT8, shape, stored.values_at),
            self.large(f"{name}.scales", Kind.FLOAT, (rows, blocks), stored.scales_at),
        ]
        if stored.zeros_at is not None:
            shape = (rows, (blocks * stored.bits + 7) // 8)
            names.append(self.large(f"{name}.zeros", Kind.UINT8, shape, stored.zeros_at))
        return names


_STORED: dict[int, Callable[[NDArray[np.float32]], tuple[NDArray[Any], ...]]] = {
    32: lambda slab: (slab,),
    8: quantise,
    4: quantise_to_4_bits,
}


def node(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], *, domain: str = "", **settings: Any
) -> NodeProto:
    """Return a node that is named after its first output and its kind."""
    return helper.make_node(kind, inputs, outputs, name=f"{outputs[0]}/{kind}", domain=domain, **settings)


def product(  # noqa: PLR0913 - as many as the operator has
    source: str,
    values: str,
    scales: str,
    *,
    output: str,
    rows: int,
    columns: int,
    bits: int = 8,
    block: int = BLOCK,
    zeros: str = "",
    bias: str = "",
) -> NodeProto:
    """Return the node that multiplies by a quantised matrix, rounding what comes in to 8 bits.

    Args:
        source: What comes in, float32, `columns` wide.
        values: Initializer of shape (rows, blocks, bytes of a block), uint8.
        scales: Initializer of shape (rows, blocks), float32.
        output: What goes out, float32, `rows` wide.
        rows: Outputs.
        columns: Inputs.
        bits: Of each value.
        block: Inputs that share a scale.
        zeros: Initializer with what stands for zero in each block; the middle where left out.
        bias: Initializer of shape (rows,), float32; none where left out.
    """
    inputs = [source, values, scales, zeros, "", bias]
    while not inputs[-1]:
        inputs.pop()
    return node(
        "MatMulNBits",
        inputs,
        [output],
        domain=MICROSOFT,
        K=columns,
        N=rows,
        bits=bits,
        block_size=block,
        accuracy_level=_INT8_ACTIVATIONS,
    )


def whole_product(
    source: str,
    values: str,
    scales: str,
    *,
    output: str,
    step: str,
    zero: str,
    bias: str = "",
) -> list[NodeProto]:
    """Return the nodes that round what comes in to 8 bits of one step, and multiply in whole numbers.

    Args:
        source: What comes in, float32.
        values: Initializer of shape (columns, rows), int8.
        scales: Initializer of shape (rows,), float32.
        output: What goes out, float32.
        step: Initializer, the step of what comes in, float32.
        zero: Initializer, what stands for zero of it, uint8.
        bias: Initializer of shape (rows,), float32; none where left out.
    """
    whole = f"{output}.whole"
    inputs = [whole, values, step, scales, zero, "", bias]
    return [
        node("QuantizeLinear", [source, step, zero], [whole]),
        node("MatMulIntegerToFloat", inputs[: None if bias else 5], [output], domain=MICROSOFT),
    ]


def value(name: str, kind: Kind, shape: Sequence[int | str]) -> ValueInfoProto:
    """Return an input or output of a graph; a length in words is one that varies."""
    return helper.make_tensor_value_info(name, kind, shape)


def write_new(
    path: Path,
    *,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Weights,
) -> None:
    """Write a model that consists of these parts."""
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, initializer=weights.tensors)
    versions = [helper.make_opsetid("", _OPERATORS), helper.make_opsetid(MICROSOFT, _MICROSOFT_OPERATORS)]
    write_model(
        helper.make_model(graph, opset_imports=versions, producer_name="edge_node", ir_version=_LAYOUT), path
    )


def read_model(path: Path) -> ModelProto:
    """Return a model with all its weights.

    Raises:
        ModelCorrupt: It cannot be read.
    """
    try:
        model = onnx.load(path)
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        came = str(error).partition("\n")[0] or type(error).__name__
        raise ModelCorrupt(path, expected="an ONNX model", came=came) from error
    if not model.graph.node:  # as an empty file is read
        raise ModelCorrupt(path, expected="an ONNX model", came="one without a node")
    return model


def read_layout(path: Path) -> ModelProto:
    """Return a model that this project wrote, its large weights left where they lie."""
    return onnx.load(path, load_external_data=False)


def write_model(model: ModelProto, path: Path) -> None:
    """Write a model; it must know the versions of all operators in it."""
    path.write_bytes(model.SerializeToString(deterministic=True))


def allow_microsoft(model: ModelProto) -> None:
    """Let a model have operators of ONNX Runtime's own."""
    if MICROSOFT not in {versions.domain for versions in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(MICROSOFT, _MICROSOFT_OPERATORS))


def values_of(tensor: TensorProto) -> NDArray[Any]:
    """Return the values of an initializer."""
    values: NDArray[Any] = numpy_helper.to_array(tensor)
    return values


def setting(of: NodeProto, *, name: str, default: Any) -> Any:
    """Return a setting of a node, or `default` where it does not say."""
    found = (helper.get_attribute_value(each) for each in of.attribute if each.name == name)
    return next(found, default)
