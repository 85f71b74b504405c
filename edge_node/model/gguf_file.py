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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gguf import ReaderTensor
    from numpy.typing import NDArray

_CONTROL_TOKEN = 3
_USER_DEFINED_TOKEN = 4
_SLAB_ELEMENTS = 4 * 1024 * 1024


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
    architecture.name: architecture for architecture in (Architecture("llama", rotary_interleaved=True),)
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
        context: Tokens the model was trained to read.
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
        model: Kind of tokenizer, `gpt2` for byte-level BPE.
        pre: Name of the rule that splits text before merging.
        tokens: Token texts by identifier, in the byte-level alphabet.
        merges: Pairs that merge, best first, each as two texts with a space between.
        special: Identifiers of tokens that never come from plain text.
        bos: Identifier that opens a text, or None.
        eos: Identifiers that end an answer.
        chat_template: Jinja source that lays out a chat, or empty.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    merges: tuple[str, ...]
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
        try:
            reader = GGUFReader(path)
        except (OSError, ValueError, LookupError, OverflowError) as error:
            raise ModelCorrupt(
                path,
                expected="a whole GGUF file",
                came=str(error) or type(error).__name__,
                hint="fetch it again",
            ) from error
        return cls(path, reader=reader)

    def has(self, name: str) -> bool:
        """Return whether the file holds a tensor of this name."""
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, rows first.

        Raises:
            ModelCorrupt: The file holds no such tensor.
        """
        return tuple(int(size) for size in reversed(self._tensor(name).shape))

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
        rows, columns = self.shape(name)
        step = max(1, _SLAB_ELEMENTS // columns)
        for start in range(0, rows, step):
            yield self._dequantised(tensor, slice(start, start + step))

    def _dequantised(self, tensor: ReaderTensor, rows: slice) -> NDArray[np.float32]:
        try:
            values = dequantize(tensor.data[rows], tensor.tensor_type)
        except NotImplementedError as error:
            raise ModelUnsupported(
                self.path, expected="a tensor type such as Q4_1 or Q8_0", came=tensor.tensor_type.name
            ) from error
        return np.asarray(values, dtype=np.float32)

    def _tensor(self, name: str) -> ReaderTensor:
        try:
            return self._tensors[name]
        except KeyError as error:
            raise ModelCorrupt(self.path, expected=f"a tensor {name}", came="none of that name") from error

    def _value(self, key: str, default: Any = None) -> Any:
        field = self._reader.get_field(key)
        if field is not None:
            return field.contents()
        if default is None:
            raise ModelCorrupt(self.path, expected=f"a key {key}", came="none of that name")
        return default

    def _read_architecture(self) -> Architecture:
        name = self._value("general.architecture")
        if name not in ARCHITECTURES:
            supported = ", ".join(sorted(ARCHITECTURES))
            raise ModelUnsupported(self.path, expected=f"an architecture among {supported}", came=str(name))
        return ARCHITECTURES[name]

    def _read_dimensions(self) -> Dimensions:
        family = self.architecture.name
        scaling = self._value(f"{family}.rope.scaling.type", "none")
        if scaling != "none":
            raise ModelUnsupported(self.path, expected="rotary positions without scaling", came=str(scaling))
        hidden = self._value(f"{family}.embedding_length")
        heads = self._value(f"{family}.attention.head_count")
        return Dimensions(
            layers=self._value(f"{family}.block_count"),
            hidden=hidden,
            feed_forward=self._value(f"{family}.feed_forward_length"),
            heads=heads,
            kv_heads=self._value(f"{family}.attention.head_count_kv", heads),
            head_size=self._value(f"{family}.attention.key_length", hidden // heads),
            vocabulary=self.shape("token_embd.weight")[0],
            context=self._value(f"{family}.context_length"),
            rope_base=self._value(f"{family}.rope.freq_base", 10_000.0),
            norm_epsilon=self._value(f"{family}.attention.layer_norm_rms_epsilon"),
        )

    def _read_vocabulary(self) -> Vocabulary:
        tokens = self._value("tokenizer.ggml.tokens")
        kinds = self._value("tokenizer.ggml.token_type", [1] * len(tokens))
        ends = [self._value(f"tokenizer.ggml.{name}_token_id", -1) for name in ("eos", "eot")]
        bos = self._value("tokenizer.ggml.bos_token_id", -1)
        return Vocabulary(
            model=self._value("tokenizer.ggml.model"),
            pre=self._value("tokenizer.ggml.pre", "default"),
            tokens=tuple(tokens),
            merges=tuple(self._value("tokenizer.ggml.merges", [])),
            special=frozenset(
                index for index, kind in enumerate(kinds) if kind in {_CONTROL_TOKEN, _USER_DEFINED_TOKEN}
            ),
            bos=bos if bos >= 0 else None,
            eos=tuple(dict.fromkeys(end for end in ends if end >= 0)),
            chat_template=self._value("tokenizer.chat_template", ""),
        )
