"""ONNX graphs of embedding models: int8 weights that stay int8 in memory.

Knows how exports spell int8 weights and what they are rewritten to; knows nothing of tokenizers,
manifests or where a model comes from.

Many exports store a weight as int8 and let the graph make float32 of it: Cast, then Mul by a scale for
each row or column. ONNX Runtime does this once, while it loads, and then holds and multiplies float32.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.model.manifest import GRAPH_FILE
from edge_node.model.onnx_file import (
    DATA_FILE,
    Kind,
    Weights,
    allow_microsoft,
    node,
    product,
    read_model,
    setting,
    values_of,
    write_model,
)
from edge_node.model.quantise import BLOCK, in_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import GraphProto, NodeProto, TensorProto


@dataclass(frozen=True, slots=True)
class _Weight:
    """A matrix that the graph makes of int8 values and scales.

    Attributes:
        name: What the graph calls the product of both.
        values: Shape (K, N), int8.
        scales: Shape (K, 1), (1, N), (N) or a single one, float32.
    """

    name: str
    values: NDArray[np.int8]
    scales: NDArray[np.float32]

    @property
    def has_scale_per_row(self) -> bool:
        """Whether each row has its scale, as in a table that rows are taken from."""
        return self.scales.shape == (self.values.shape[0], 1)

    @property
    def has_scale_per_column(self) -> bool:
        """Whether each column has its scale, or all have one."""
        return self.scales.size == 1 or self.scales.shape in {
            (1, self.values.shape[1]),
            (self.values.shape[1],),
        }


def build_embedding_graph(source: Path, folder: Path) -> None:
    """Write model.onnx, and where weights were rewritten model.onnx.data, for an export into `folder`.

    Weights stay exactly what they were. Where nothing is made of int8, the file is taken as it is.

    Args:
        source: The export.
        folder: Where to write.

    Raises:
        ModelCorrupt: The export cannot be read.
    """
    model = read_model(source)
    # Graphs inside of nodes may take values from outside without naming them as inputs.
    nested = any(attribute.HasField("g") for each in model.graph.node for attribute in each.attribute)
    found = {} if nested else {weight.name: weight for weight in _weights(model.graph)}
    replaceable = {name for name in found if _all_replaceable(model.graph, weight=found[name])}
    if not replaceable:
        shutil.copyfile(source, folder / GRAPH_FILE)
        return
    with (folder / DATA_FILE).open("wb") as data:
        weights = Weights(data)
        _replace(model.graph, found={name: found[name] for name in sorted(replaceable)}, weights=weights)
    allow_microsoft(model)
    write_model(model, folder / GRAPH_FILE)


def _weights(graph: GraphProto) -> Iterator[_Weight]:
    """Yield what is Mul(Cast(int8 initializer), float32 initializer), in either order."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    cast = {
        each.output[0]: tensors[each.input[0]]
        for each in graph.node
        if each.op_type == "Cast"
        and setting(each, name="to", default=None) == Kind.FLOAT
        and _is(tensors.get(each.input[0]), Kind.INT8, dimensions=2)
    }
    for each in graph.node:
        if each.op_type != "Mul":
            continue
        for left, right in (each.input, reversed(each.input)):
            if left in cast and _is(tensors.get(right), Kind.FLOAT):
                yield _Weight(each.output[0], values_of(cast[left]), values_of(tensors[right]))


def _is(tensor: TensorProto | None, kind: Kind, *, dimensions: int | None = None) -> bool:
    return (
        tensor is not None
        and tensor.data_type == kind
        and (dimensions is None or len(tensor.dims) == dimensions)
    )


def _all_replaceable(graph: GraphProto, *, weight: _Weight) -> bool:
    """Return whether everything that takes a weight can take it in 8 bits instead, and in one layout."""
    takers = [each for each in graph.node if weight.name in each.input]
    leaves = any(output.name == weight.name for output in graph.output)
    rows = all(_takes_rows(each, weight) for each in takers)
    return not leaves and (rows or all(_multiplies(each, weight) for each in takers))


def _takes_rows(taker: NodeProto, weight: _Weight) -> bool:
    return (
        taker.op_type == "Gather"
        and taker.input[0] == weight.name
        and setting(taker, name="axis", default=0) == 0
        and weight.has_scale_per_row
    )


def _multiplies(taker: NodeProto, weight: _Weight) -> bool:
    return (
        taker.op_type == "MatMul"
        and taker.input[1] == weight.name
        and taker.input[0] != weight.name
        and weight.values.shape[0] % BLOCK == 0
        and weight.has_scale_per_column
    )


def _replace(graph: GraphProto, *, found: dict[str, _Weight], weights: Weights) -> None:
    """Let every taker have its weight in 8 bits, and drop what nobody takes any more."""
    nodes: list[NodeProto] = []
    written: set[str] = set()
    for each in graph.node:
        name = next((name for name in each.input if name in found), None)
        if name is None:
            nodes.append(each)
            continue
        weight = found[name]
        if name not in written:
            written.add(name)
            _write(weight, rows=each.op_type == "Gather", weights=weights)
        nodes += _rows(each, name) if each.op_type == "Gather" else _multiplied(each, weight)
    kept = _needed(nodes, outputs={output.name for output in graph.output})
    taken = {name for each in kept for name in each.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in taken]
    _fill(graph.node, kept)
    _fill(graph.initializer, tensors + weights.tensors)
    _fill(graph.value_info, [])  # they speak of values that are gone


def _write(weight: _Weight, *, rows: bool, weights: Weights) -> None:
    values: NDArray[Any] = weight.values
    scales = weight.scales
    if not rows:
        scales = np.broadcast_to(scales.reshape(-1), values.shape[1:])
        values, scales = in_blocks(values, scales=scales)
    weights.add(f"{weight.name}/values", values)
    weights.add(f"{weight.name}/scales", scales)


def _rows(taker: NodeProto, name: str) -> list[NodeProto]:
    """Return what takes rows of values and scales, and multiplies only those."""
    indices, output = taker.input[1], taker.output[0]
    taken, numbers, scales = (f"{output}/{part}" for part in ("values", "numbers", "scales"))
    return [
        node("Gather", [f"{name}/values", indices], [taken]),
        node("Cast", [taken], [numbers], to=int(Kind.FLOAT)),
        node("Gather", [f"{name}/scales", indices], [scales]),
        node("Mul", [numbers, scales], [output]),
    ]


def _multiplied(taker: NodeProto, weight: _Weight) -> list[NodeProto]:
    columns, rows = weight.values.shape
    values, scales = f"{weight.name}/values", f"{weight.name}/scales"
    return [product(taker.input[0], values, scales, output=taker.output[0], rows=rows, columns=columns)]


def _needed(nodes: list[NodeProto], *, outputs: set[str]) -> list[NodeProto]:
    """Return the nodes that something is made of, in their order."""
    wanted = set(outputs)
    kept = []
    for each in reversed(nodes):
        if wanted.intersection(each.output):
            kept.append(each)
            wanted.update(each.input)
    return kept[::-1]


def _fill(field: Any, values: list[Any]) -> None:
    del field[:]
    field.extend(values)
