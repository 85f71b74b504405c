"""What a connection may use: plain TCP, TLS, and the password from its file.

Knows the configuration of the broker and files; knows nothing of MQTT.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from edge_node.errors import ConfigurationError

if TYPE_CHECKING:
    from edge_node.config.models import BrokerConfig

_log = structlog.get_logger(__name__)


def check_access(broker: BrokerConfig) -> None:
    """Refuse what can be seen to fail before the first connection, and plain TCP beyond this machine.

    Raises:
        ConfigurationError: TLS is missing where it is needed, or a file cannot be used.
    """
    if broker.tls is None and not broker.plaintext and not _is_loopback(broker.host):
        raise ConfigurationError(
            f"broker.tls: expected TLS to {broker.host}:{broker.port} beyond this machine, came plain TCP",
            hint="set broker.tls, or broker.plaintext: true where the whole network is trusted",
            field="broker.plaintext",
        )
    tls_context(broker)
    password(broker)
    path = Path(_path(broker.password_file) or os.devnull)
    if path.is_file() and path.stat().st_mode & stat.S_IROTH:
        _log.warning("password_file_readable_by_everyone", file=str(path), hint=f"chmod o-rwx {path}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Socket(ssl.SSLSocket):
    """A socket that a failed handshake closes, which paho leaves open."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of the base
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def tls_context(broker: BrokerConfig) -> ssl.SSLContext | None:
    """Return what verifies the broker and proves who this client is, or None for plain TCP.

    Raises:
        ConfigurationError: A file is missing or is not what it should be.
    """
    if broker.tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=_path(broker.tls.ca_file))
        context.sslsocket_class = _Socket
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if broker.tls.cert_file:
            # An empty password makes an encrypted key an error; without one OpenSSL asks on the terminal.
            context.load_cert_chain(
                _path(broker.tls.cert_file) or "", _path(broker.tls.key_file), password=""
            )
    except OSError as problem:  # ssl.SSLError is one
        raise ConfigurationError(
            f"broker.tls: expected readable PEM files, came {problem}",
            hint="check ca_file, cert_file and key_file",
            field="broker.tls",
        ) from problem
    return context


def connect_problem(problem: OSError) -> str:
    """Return why there is no connection, in a few words, with the way out where TLS stands in it."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"a certificate that is not trusted: {problem.verify_message} (check broker.host and ca_file)"
    return str(problem) or type(problem).__name__


def password(broker: BrokerConfig) -> str | None:
    """Return the password in the file that the configuration names, or None where it names none.

    The line break that editors put at the end is not part of it.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    if broker.password_file is None:
        return None
    path = Path(_path(broker.password_file) or "")
    try:
        secret = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(
            f"broker.password_file: expected a readable file, came {problem}",
            hint="systemd passes secrets with LoadCredential= in $CREDENTIALS_DIRECTORY",
            field="broker.password_file",
        ) from problem
    return secret.removesuffix("\n").removesuffix("\r")


def _path(name: str | None) -> str | None:
    return None if name is None else str(Path(os.path.expandvars(name)).expanduser())
