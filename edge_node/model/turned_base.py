"""What an adapter is over a base whose residual stream is turned.

Knows where the matrices of an adapter meet the stream; knows nothing of how either is run. Files of adapters
speak of the stream as it was trained, so that one file fits a base however it was built.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

from edge_node.errors import ModelCorrupt
from edge_node.model.manifest import DOWN, NORMS_FILE, UP
from edge_node.model.turning import Turning

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_READS = {f"qkv{DOWN}": "attn_norm", f"gate_up{DOWN}": "ffn_norm"}
_WRITES = (f"attn_output{UP}", f"ffn_down{UP}")


class TurnedBase:
    """The turn of a base, and the norms that went into its weights.

    Args:
        folder: Holds the built model.

    Raises:
        ModelCorrupt: The norms cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NORMS_FILE
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as norms:
                self._norms: dict[str, NDArray[np.float32]] = {name: norms[name] for name in norms.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ModelCorrupt(path, expected="the norms of a model", came=str(error)) from error
        self._turning = Turning(len(self._norms["output_norm"]))

    def fitted(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a matrix of an adapter as it is over the turned stream.

        Args:
            name: Input of the graph that it belongs to, such as `blk.0.qkv.lora_a`.
            values: The matrix as it is over the stream that was trained, checked to fit the base.
        """
        block, part, end = name.rsplit(".", 2)
        if norm := _READS.get(f"{part}.{end}"):
            return self._turning.out_of(self._norms[f"{block}.{norm}"]) @ values
        return self._turning.into(values) if f"{part}.{end}" in _WRITES else values


def is_turned(folder: Path) -> bool:
    """Return whether the model in a folder was built with its stream turned."""
    return (folder / NORMS_FILE).is_file()
