"""What this machine's processor can do; knows nothing of models."""

from __future__ import annotations

import platform
from pathlib import Path

_EXACT = ("vnni", "amx_int8")


def adds_products_exactly(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether sums of products of bytes are exact where they are fast.

    x86 processors without VNNI add pairs of such products in 16 bits, which overflow; others know no such
    instruction.

    Args:
        cpuinfo: What the kernel tells of the processor; where there is none, the worse is taken.

    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When and why do I
        need to try U8U8?"
    """
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return True
    try:
        told = cpuinfo.read_text("utf-8", errors="replace")
    except OSError:
        return False
    return any(word in told for word in _EXACT)
