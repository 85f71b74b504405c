"""Approvals signed by a person's own key, so that neither the broker nor who reads along can give one.

Ed25519 over one canonical JSON text. Knows keys, files and what is signed; knows no command, no user's
rights and no bus. The only module that imports cryptography.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge_node.errors import KeyUnusable, SignatureRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GREATEST_COUNTER = 2**53 - 1
"""Greatest whole number that every reader of JSON holds exactly."""
_COUNTER = "counter:"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a person signs.

    Attributes:
        edge: The edge that is to act.
        operation: What it is to do, such as `approve`.
        command_id: The command that is meant.
        user: Who says so.
        counter: A number that only grows; no statement counts twice.
    """

    edge: str
    operation: str
    command_id: str
    user: str
    counter: int

    def canonical(self) -> bytes:
        """Return the one text that is signed.

        Source: RFC 8785. Names are ASCII, numbers are integers below 2**53, and strings are escaped as in
        section 3.2.2.2, so that sorted keys without spaces are all that it asks for here.
        """
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()


class Counters(Protocol):
    """Where is kept how far each person has counted."""

    def recall(self, key: str) -> str | None:
        """Return what was kept under a name, or None."""

    def remember(self, key: str, value: str) -> None:
        """Keep a value under a name; on the disk on return."""


class Signatures:
    """The public keys of people; a file is read each time, so that a changed one counts at once.

    Args:
        files: User to the file of the public key, in PEM.
        counters: Keeps over a restart how far each person has counted.
    """

    def __init__(self, files: Mapping[str, Path], *, counters: Counters) -> None:
        self._files = dict(files)
        self._counters = counters

    def accept(self, statement: Statement, signature: str) -> None:
        """Return if a statement was signed by the user it names, and not before; it counts as said now.

        Raises:
            SignatureRefused: It is not signed, not by this user, not so, or its counter does not grow.
            KeyUnusable: The file of the key cannot be used.
        """
        self.check(statement, signature)
        name = _COUNTER + statement.user
        last = int(self._counters.recall(name) or "0")
        if not last < statement.counter <= GREATEST_COUNTER:
            expected = f"a counter above {last}, the last one that was used"
            raise SignatureRefused(statement.user, expected=expected)
        self._counters.remember(name, str(statement.counter))

    def check(self, statement: Statement, signature: str) -> None:
        """Return if a statement was signed by the user it names.

        Args:
            statement: What was said.
            signature: The signature in base64, as `sign` returns it.

        Raises:
            SignatureRefused: The user has no key, or the signature is not of this statement and key.
            KeyUnusable: The file of the key cannot be used.
        """
        file = self._files.get(statement.user)
        if file is None:
            raise SignatureRefused(statement.user, expected="a user with a key under operators.keys")
        key = read_public_key(file)
        try:
            key.verify(base64.b64decode(signature, validate=True), statement.canonical())
        except (InvalidSignature, binascii.Error, ValueError) as problem:
            expected = "a signature of exactly this by the user's own key"
            raise SignatureRefused(statement.user, expected=expected) from problem


def read_public_key(file: Path) -> Ed25519PublicKey:
    """Return the public key of a file.

    Raises:
        KeyUnusable: It cannot be read, or holds no public Ed25519 key in PEM.
    """
    try:
        key = serialization.load_pem_public_key(_bytes(file))
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise KeyUnusable(file, expected="a public key in PEM") from problem
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable(file, expected="a key of the kind Ed25519")
    return key


def sign(statement: Statement, *, key_file: Path) -> str:
    """Return the signature of a statement in base64.

    Raises:
        KeyUnusable: The file cannot be read, or holds no private Ed25519 key in PEM without a password.
    """
    try:
        key = serialization.load_pem_private_key(_bytes(key_file), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise KeyUnusable(key_file, expected="a private key in PEM without a password") from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(key_file, expected="a key of the kind Ed25519")
    return base64.b64encode(key.sign(statement.canonical())).decode()


def write_pair(private_file: Path, *, public_file: Path) -> None:
    """Write a new pair of keys; the private one for its owner alone.

    Raises:
        KeyUnusable: A file is there already, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(private_file, private, mode=0o600)
    _write(public_file, public, mode=0o644)


def _write(file: Path, content: bytes, *, mode: int) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(content)
    except OSError as problem:
        raise KeyUnusable(file, expected=f"a file that can be made ({problem.strerror})") from problem


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise KeyUnusable(file, expected=f"a file that can be read ({problem.strerror})") from problem
