"""Another model that the user names, on their own network: what is wrong with its address.

Knows addresses as text; knows nothing of how it is spoken to.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge_node.config.findings import Findings

if TYPE_CHECKING:
    from edge_node.config.runtime_file import LargerModelConfig
    from edge_node.config.source import Document
    from edge_node.errors import Problem

_KEY = "larger_model"


def check_larger_model(larger: LargerModelConfig | None, document: Document) -> list[Problem]:
    """Return what is wrong with the address: no address, or plain HTTP beyond this machine."""
    if larger is None:
        return []
    findings = Findings(document)
    expected = "http:// or https:// with a host, without user, query or fragment"
    try:
        parts = urlsplit(larger.url)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        findings.add((_KEY, "url"), expected=expected, came=f"{larger.url!r}, {problem}")
        return findings.problems
    odd = parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in {"http", "https"} or not host or odd or not larger.url.isprintable():
        findings.add((_KEY, "url"), expected=expected, came=repr(larger.url))
    elif parts.scheme == "http" and not larger.plaintext and not _is_loopback(host):
        findings.add(
            (_KEY, "url"),
            expected="https:// beyond this machine",
            came=repr(larger.url),
            hint="set larger_model.plaintext: true where the whole network is trusted",
        )
    return findings.problems


def leaves_the_network(larger: LargerModelConfig | None) -> str:
    """Return the host where it is not seen to be on this machine or on a private network, else ''."""
    host = (urlsplit(larger.url).hostname or "") if larger else ""
    if not host or _is_loopback(host) or host.endswith((".local", ".lan", ".home.arpa", ".internal")):
        return ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host if "." in host else ""
    return "" if address.is_private or address.is_link_local else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
