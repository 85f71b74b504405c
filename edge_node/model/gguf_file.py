"""GGUF files: what they say about a model, and its tensors one at a time.

The only place that knows the `gguf` library. Knows nothing of ONNX, tokenizers or folders of built models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

from edge_node.errors import ModelCorrupt, ModelUnsupported
from edge_node.model.gguf_header import check_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gguf import ReaderTensor
    from numpy.typing import NDArray

_UNKNOWN_TOKEN = 2
_CONTROL_TOKEN = 3
_USER_DEFINED_TOKEN = 4
_NOT_FROM_TEXT = {_UNKNOWN_TOKEN, _CONTROL_TOKEN, _USER_DEFINED_TOKEN}
_SLAB_ELEMENTS = 4 * 1024 * 1024
TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
_LARGEST_SIZE = 2**24
_LONGEST_CONTEXT = 131_072  # a graph holds the rotation of every position
_FAULTS = (OSError, ValueError, LookupError, OverflowError, MemoryError, TypeError)


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one family of models differs from the others.

    Attributes:
        name: `general.architecture` in the file.
        rotary_interleaved: Whether rotary pairs are neighbours, as the conversion to GGUF leaves them.
    """

    name: str
    rotary_interleaved: bool


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("llama", rotary_interleaved=True),
        Architecture("qwen2", rotary_interleaved=False),
        Architecture("qwen3", rotary_interleaved=False),
    )
}


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes of a decoder.

    Attributes:
        layers: Blocks.
        hidden: Width of the residual stream.
        feed_forward: Width inside the feed-forward block.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_size: Width of one head.
        vocabulary: Rows of the embedding table.
        context: Tokens the model was trained to read, 131072 at most.
        rope_base: Base of the rotary frequencies.
        norm_epsilon: What keeps the root mean square above zero.
    """

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    rope_base: float
    norm_epsilon: float


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a tokenizer is built from.

    Attributes:
        model: Kind of tokenizer: `gpt2` for byte-level BPE, `llama` for SentencePiece.
        pre: Name of the rule that splits text before merging.
        tokens: Token texts by identifier, in the byte-level alphabet where it is byte-level.
        merges: Pairs that merge, best first, each as two texts with a space between.
        scores: How early a piece is put together, the highest first; empty where merges tell.
        spaced: Whether SentencePiece puts a space before a text.
        special: Identifiers of tokens that never come from plain text.
        bos: Identifier that opens a text, or None.
        eos: Identifiers that end an answer.
        chat_template: Jinja source that lays out a chat, or empty.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    merges: tuple[str, ...]
    scores: tuple[float, ...]
    spaced: bool
    special: frozenset[int]
    bos: int | None
    eos: tuple[int, ...]
    chat_template: str


class GgufFile:
    """An open GGUF file.

    Attributes:
        path: Where it lies.
        architecture: Its family.
        dimensions: Its sizes.
        vocabulary: Its tokenizer.
    """

    def __init__(self, path: Path, *, reader: GGUFReader) -> None:
        self.path = path
        self._reader = reader
        self._tensors: dict[str, ReaderTensor] = {tensor.name: tensor for tensor in reader.tensors}
        self.architecture = self._read_architecture()
        self.dimensions = self._read_dimensions()
        self.vocabulary = self._read_vocabulary()

    @classmethod
    def open(cls, path: Path) -> GgufFile:
        """Return the file at `path`, its tensors mapped and not yet read.

        Raises:
            ModelCorrupt: It is not GGUF, it is cut short, or it lacks a key that every model has.
            ModelUnsupported: Its architecture or a type in it cannot be run.
        """
        check_header(path)
        try:
            return cls(path, reader=GGUFReader(path))
        except _FAULTS as error:
            came = str(error) or type(error).__name__
            raise ModelCorrupt(
                path, expected="a whole GGUF file", came=came, hint="fetch it again"
            ) from error

    @property
    def names(self) -> frozenset[str]:
        """Names of all tensors."""
        return frozenset(self._tensors)

    def has(self, name: str) -> bool:
        """Return whether the file holds a tensor of this name."""
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, rows first.

        Raises:
            ModelCorrupt: The file holds no such tensor.
        """
        return tuple(int(size) for size in reversed(self._tensor(name).shape))

    def kind(self, name: str) -> str:
        """Return the type of a tensor, such as Q4_1; raises as `shape` does."""
        return str(self._tensor(name).tensor_type.name)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Return a tensor as float32, rows first.

        Raises:
            ModelCorrupt: The file holds no such tensor.
            ModelUnsupported: Its type cannot be turned into float32.
        """
        return self._dequantised(self._tensor(name), slice(None))

    def slabs(self, name: str) -> Iterator[NDArray[np.float32]]:
        """Yield a matrix as float32 a few rows at a time, so that a large one never lies in memory whole.

        Raises:
            ModelCorrupt: The file holds no such tensor.
            ModelUnsupported: Its type cannot be turned into float32.
        """
        tensor = self._tensor(name)
        shape = self.shape(name)
        if len(shape) != 2:  # noqa: PLR2004 - a matrix
            raise ModelCorrupt(self.path, expected=f"{name} with rows and columns", came=f"shape {shape}")
        rows, columns = shape
        step = max(1, _SLAB_ELEMENTS // columns)
        for start in range(0, rows, step):
            yield self._dequantised(tensor, slice(start, start + step))

    def _dequantised(self, tensor: ReaderTensor, rows: slice) -> NDArray[np.float32]:
        if tensor.tensor_type.name not in TYPES:
            raise ModelUnsupported(
                self.path,
                expected=f"tensors of a type among {', '.join(TYPES)}",
                came=f"{tensor.tensor_type.name} in {tensor.name}",
            )
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of altered bytes is refused below
            values = np.asarray(dequantize(tensor.data[rows], tensor.tensor_type), dtype=np.float32)
        if not np.isfinite(values).all():
            raise ModelCorrupt(
                self.path, expected=f"numbers in {tensor.name}", came="some that are not finite"
            )
        return values

    def _tensor(self, name: str) -> ReaderTensor:
        try:
            return self._tensors[name]
        except KeyError as error:
            raise ModelCorrupt(self.path, expected=f"a tensor {name}", came="none of that name") from error

    def _value(self, key: str, kind: type, default: Any = None) -> Any:
        field = self._reader.get_field(key)
        if field is None:
            if default is None:
                raise ModelCorrupt(self.path, expected=f"a key {key}", came="none of that name")
            return default
        value = field.contents()
        if isinstance(value, kind) or (kind is float and isinstance(value, int)):
            return value
        raise ModelCorrupt(self.path, expected=f"{key} as {kind.__name__}", came=f"{value!r:.60}")

    def _read_architecture(self) -> Architecture:
        name = self._value("general.architecture", str)
        if name not in ARCHITECTURES:
            supported = ", ".join(sorted(ARCHITECTURES))
            raise ModelUnsupported(self.path, expected=f"an architecture among {supported}", came=str(name))
        return ARCHITECTURES[name]

    def _read_dimensions(self) -> Dimensions:
        family = self.architecture.name
        self._check_plain(family)
        hidden = self._size(f"{family}.embedding_length")
        heads = self._size(f"{family}.attention.head_count")
        dimensions = Dimensions(
            layers=self._size(f"{family}.block_count"),
            hidden=hidden,
            feed_forward=self._size(f"{family}.feed_forward_length"),
            heads=heads,
            kv_heads=self._size(f"{family}.attention.head_count_kv", heads),
            head_size=self._size(f"{family}.attention.key_length", max(1, hidden // heads)),
            vocabulary=self.shape("token_embd.weight")[0],
            context=min(self._size(f"{family}.context_length"), _LONGEST_CONTEXT),
            rope_base=float(self._value(f"{family}.rope.freq_base", float, 10_000.0)),
            norm_epsilon=float(self._value(f"{family}.attention.layer_norm_rms_epsilon", float)),
        )
        self._check_consistent(dimensions)
        return dimensions

    def _size(self, key: str, default: int | None = None) -> int:
        size: int = self._value(key, int, default)
        if not 1 <= size <= _LARGEST_SIZE:
            raise ModelCorrupt(self.path, expected=f"{key} from 1 to {_LARGEST_SIZE}", came=str(size))
        return size

    def _check_plain(self, family: str) -> None:
        """Refuse what some files of these families have and the graph does not compute."""
        scaling = self._value(f"{family}.rope.scaling.type", str, "none")
        if scaling != "none":
            raise ModelUnsupported(self.path, expected="rotary positions without scaling", came=scaling)
        if experts := self._value(f"{family}.expert_count", int, 0):
            raise ModelUnsupported(self.path, expected="a model without experts", came=f"{experts} experts")

    def _check_consistent(self, sizes: Dimensions) -> None:
        family = self.architecture.name
        if sizes.heads % sizes.kv_heads:
            came = f"{sizes.heads} and {sizes.kv_heads}"
            raise ModelCorrupt(self.path, expected="query heads a multiple of key heads", came=came)
        for key in (f"{family}.attention.value_length", f"{family}.rope.dimension_count"):
            if (size := self._size(key, sizes.head_size)) != sizes.head_size:
                raise ModelUnsupported(
                    self.path, expected=f"{key} as wide as a head ({sizes.head_size})", came=str(size)
                )

    def _read_vocabulary(self) -> Vocabulary:
        tokens = self._value("tokenizer.ggml.tokens", list)
        kinds = self._value("tokenizer.ggml.token_type", list, [1] * len(tokens))
        if len(tokens) > (rows := self.dimensions.vocabulary):
            expected = f"at most {rows} tokens, one for each row of the embedding table"
            raise ModelCorrupt(self.path, expected=expected, came=str(len(tokens)))
        ends = [self._token(name, count=len(tokens)) for name in ("eos", "eot", "eom")]
        return Vocabulary(
            model=self._value("tokenizer.ggml.model", str),
            pre=self._value("tokenizer.ggml.pre", str, "default"),
            tokens=tuple(tokens),
            merges=tuple(self._value("tokenizer.ggml.merges", list, [])),
            scores=tuple(self._value("tokenizer.ggml.scores", list, [])),
            spaced=self._value("tokenizer.ggml.add_space_prefix", bool, default=True),
            special=frozenset(index for index, kind in enumerate(kinds) if kind in _NOT_FROM_TEXT),
            bos=self._token("bos", count=len(tokens)),
            eos=tuple(dict.fromkeys(end for end in ends if end is not None)),
            chat_template=self._value("tokenizer.chat_template", str, ""),
        )

    def _token(self, name: str, *, count: int) -> int | None:
        """Return the identifier of a token with a part of its own; None where the file names none."""
        token: int = self._value(f"tokenizer.ggml.{name}_token_id", int, -1)
        if token >= count:
            raise ModelCorrupt(self.path, expected=f"a token {name} of the vocabulary", came=str(token))
        return token if token >= 0 else None
