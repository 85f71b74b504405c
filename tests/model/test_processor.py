from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_node.model.processor import adds_products_exactly

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("machine", "flags", "exact"),
    [
        ("x86_64", "fma avx2 avx512_vnni", True),
        ("x86_64", "fma avx2 avx_vnni", True),
        ("x86_64", "fma avx2", False),
        ("x86_64", None, False),
        ("aarch64", "asimd", True),
    ],
)
def test_only_x86_without_vnni_adds_products_of_bytes_with_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, flags: str | None, *, exact: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"flags\t\t: {flags}\n", encoding="utf-8")
    assert adds_products_exactly(cpuinfo) is exact
