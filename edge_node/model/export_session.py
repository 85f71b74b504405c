"""A decoder as exports have it: keys and values go in as they were, and come out longer.

Knows the inputs and outputs that exports have; knows nothing of text, grammars or where a model comes from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.errors import ContextExceeded, ModelUnsupported
from edge_node.model.session import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_node.model.session import Adapter, Session

_CHUNK = 64  # exports return logits of every position that is read: 12 MB for a vocabulary of 49152
_PAST = re.compile(r"past_key_values\.\d+\.(?:key|value)")
_KINDS: dict[str, Any] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_OTHERS = frozenset({"input_ids", "attention_mask", "position_ids", "use_cache_branch", "num_logits_to_keep"})
_AXES = 4


class ExportSession:
    """An exported decoder with the keys and values of the tokens it has read.

    To forget the end of what was read, run on from a smaller position.

    Attributes:
        length: Tokens that fit.
        vocabulary: Length of the logits.
        looks_ahead: Whether one run can return the logits of several positions; never so.
        layout: Type and shape of what is kept of one token; runtime and machine that wrote it.
    """

    looks_ahead = False

    def __init__(self, session: Session, *, length: int) -> None:
        self.length = length
        self._session = session
        self._pasts = [name for name in session.input_names if _PAST.fullmatch(name)]
        names = {"logits", *(self._present(name) for name in self._pasts)}
        odd = sorted(set(session.input_names) - _OTHERS - set(self._pasts))
        complete = self._pasts and session.logits_width and names.issubset(session.output_names)
        if odd or not complete:
            raise ModelUnsupported(
                session.path,
                expected="inputs input_ids, attention_mask, position_ids, past_key_values.N.key and value; "
                "outputs logits, present.N.key and value",
                came=", ".join(odd) or "others",
            )
        kinds = {session.inputs[name] for name in self._pasts}
        kind, shape = next(iter(kinds))
        if len(kinds) > 1 or kind not in _KINDS or len(shape) != _AXES or not _fixed(shape[1], shape[3]):
            raise ModelUnsupported(session.path, expected="caches of one known shape", came=str(kinds)[:80])
        self._logits_at = session.output_names.index("logits")
        self._presents_at = [session.output_names.index(self._present(name)) for name in self._pasts]
        self._kept = [np.zeros((1, shape[1], 0, shape[3]), _KINDS[kind]) for _ in self._pasts]
        self.vocabulary = int(session.logits_width)
        self.layout = f"export {kind} {len(kinds)}x{shape[1]}x{shape[3]} {session.runtime}"

    def run(self, tokens: NDArray[np.int64], *, position: int, last: int = 1) -> NDArray[np.float32]:
        """Read tokens, and return what may follow the last of them.

        Args:
            tokens: Shape (n,), int64, n at least 1, each in [0, vocabulary).
            position: Tokens read before these; what was read from there on is overwritten.
            last: How many positions at the end to return; of a long reading, those of its last piece.

        Returns:
            Logits, shape (last, vocabulary), float32.

        Raises:
            ContextExceeded: They do not fit.
            ModelError: The model cannot be run on them.
        """
        if position + len(tokens) > self.length:
            raise ContextExceeded(tokens=position + len(tokens), limit=self.length)
        self._kept = [each[:, :, :position] for each in self._kept]
        for start in range(0, len(tokens), _CHUNK):
            logits = self._read(tokens[start : start + _CHUNK], position=position + start)
        return np.asarray(logits[0, -last:], np.float32)

    def snapshot(self, tokens: int) -> NDArray[Any]:
        """Return a copy of the keys and values of the first tokens: (buffers, heads, tokens, head_size)."""
        return np.concatenate([each[:, :, :tokens] for each in self._kept])

    def restore(self, kept: NDArray[Any], tokens: Sequence[int]) -> None:
        """Take up keys and values of the first tokens in place of reading them.

        Args:
            kept: What `snapshot` returned, of as many tokens or more.
            tokens: The tokens.
        """
        self._kept = [np.array(each[np.newaxis, :, : len(tokens)]) for each in kept]

    def check_adapter(self, adapter: Adapter) -> None:
        """Refuse an adapter: exports have no place for one.

        Raises:
            ModelUnsupported: Always.
        """
        raise ModelUnsupported(adapter.path, expected="a base that is built from GGUF", came="an ONNX export")

    def adapt(self, adapter: Adapter | None) -> None:
        """Run with an adapter; raises as `check_adapter` does."""
        if adapter is not None:
            self.check_adapter(adapter)

    def _read(self, tokens: NDArray[np.int64], *, position: int) -> NDArray[Any]:
        end = position + len(tokens)
        given: dict[str, NDArray[Any]] = {
            "input_ids": np.ascontiguousarray(tokens[np.newaxis], np.int64),
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(position, end, dtype=np.int64)[np.newaxis],
            "use_cache_branch": np.array([position > 0]),
            "num_logits_to_keep": np.array(len(tokens), np.int64),
        }
        inputs = {name: given[name] for name in given.keys() & set(self._session.input_names)}
        inputs |= {
            name: np.ascontiguousarray(kept) for name, kept in zip(self._pasts, self._kept, strict=True)
        }
        outputs = self._session.run(inputs)
        self._kept = [outputs[place] for place in self._presents_at]
        return outputs[self._logits_at]

    @staticmethod
    def _present(name: str) -> str:
        return name.replace("past_key_values", "present")


def open_export_session(path: Path, *, threads: int, length: int) -> ExportSession:
    """Return an exported decoder that has read nothing yet.

    Args:
        path: The .onnx file.
        threads: Threads for one run.
        length: Tokens that are to fit.

    Raises:
        ModelMissing: There is no such file.
        ModelCorrupt: It cannot be loaded.
        ModelUnsupported: Its inputs or outputs are not those of exports that keep keys and values.
    """
    return ExportSession(open_session(path, threads=threads), length=length)


def _fixed(*widths: int | str | None) -> bool:
    return all(isinstance(width, int) and width > 0 for width in widths)
