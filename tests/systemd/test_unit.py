"""The unit file, judged by systemd itself."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "systemd"
UNIT = FOLDER / "edge-node.service"
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
WORST_EXPOSURE = 20  # systemd-analyze takes tenths

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not SYSTEM_UNITS.is_dir(), reason="systemd is not installed"
)


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def installed(root: Path, *, unit: str) -> Path:
    """Lay out a root in which the unit is installed and its program is there."""
    for name in ("opt/edge-node/venv/bin/edge-node", "bin/kill"):
        program = root / name
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n", encoding="utf-8")
        program.chmod(0o755)
    shutil.copytree(SYSTEM_UNITS, root / "usr/lib/systemd/system", symlinks=True)
    target = root / "etc/systemd/system/edge-node.service"
    target.parent.mkdir(parents=True)
    target.write_text(unit, encoding="utf-8")
    return root


def verify(root: Path) -> str:
    """Return what systemd complains about, which it also does where its exit status is 0."""
    run = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", "--man=no", "edge-node.service"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    complaints = run.stderr.splitlines()
    return "\n".join(line for line in complaints if "edge-node.service" in line)


@needs_systemd
def test_systemd_accepts_the_unit_without_a_complaint(tmp_path: Path) -> None:
    assert verify(installed(tmp_path, unit=UNIT.read_text(encoding="utf-8"))) == ""


@needs_systemd
def test_a_misspelt_key_would_not_go_unseen(tmp_path: Path) -> None:
    unit = UNIT.read_text(encoding="utf-8").replace("ProtectHome=", "ProtectHomes=")
    assert "ProtectHomes" in verify(installed(tmp_path, unit=unit))


@needs_systemd
def test_systemd_rates_the_sandbox_two_or_better() -> None:
    run = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=yes",
            "--no-pager",
            f"--threshold={WORST_EXPOSURE}",
            str(UNIT),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout.splitlines()[-1:] + run.stderr.splitlines()


def test_a_configuration_that_cannot_be_used_is_not_tried_again() -> None:
    assert settings()["Restart"] == ["on-failure"]
    assert settings()["RestartPreventExitStatus"] == ["78"]


def test_readiness_and_the_watchdog_are_told_by_the_service_itself() -> None:
    assert settings()["Type"] == ["notify"]
    assert settings()["NotifyAccess"] == ["main"]
    assert "WatchdogSec" in settings()


def test_a_reload_is_the_signal_that_the_service_listens_to() -> None:
    # Type=notify-reload would do the same, from version 253 of systemd on.
    assert settings()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_nothing_leaves_the_device_unless_a_drop_in_says_so() -> None:
    assert settings()["IPAddressDeny"] == ["any"]
    assert settings()["IPAddressAllow"] == ["localhost"]


def test_a_missing_password_file_does_not_stop_the_service() -> None:
    credential = settings()["LoadCredential"][0].partition(":")[0]
    assert any(value.startswith(f"{credential}:") for value in settings()["SetCredential"])


def test_state_lies_where_the_sandbox_lets_the_service_write() -> None:
    assert settings()["StateDirectory"] == ["edge-node"]
    assert "EDGE_NODE_HOME=%S/edge-node" in settings()["Environment"]


def test_the_account_of_the_unit_is_the_one_that_is_created() -> None:
    account = re.search(
        r"^u (\S+)", (FOLDER / "edge-node.sysusers").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert account is not None
    assert settings()["User"] == [account[1]]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("systemd-sysusers") is None or shutil.which("systemd-tmpfiles") is None,
    reason="making accounts and folders takes root and systemd",
)
def test_the_service_owns_its_state_and_only_reads_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for program, file in (
        (["systemd-sysusers"], "edge-node.sysusers"),
        (["systemd-tmpfiles", "--create"], "edge-node.tmpfiles"),
    ):
        command = [*program, f"--root={tmp_path}", str(FOLDER / file)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    account = (tmp_path / "etc/passwd").read_text(encoding="utf-8").split(":")
    state = (tmp_path / "var/lib/edge-node").stat()
    configuration = (tmp_path / "etc/edge-node").stat()
    assert account[0] == "edge-node"
    assert (state.st_uid, stat.S_IMODE(state.st_mode)) == (int(account[2]), 0o750)
    assert (configuration.st_uid, stat.S_IMODE(configuration.st_mode)) == (0, 0o2750)
