"""Identifiers that sort by time.

The only module that imports `uuid_utils`; knows nothing of what carries an identifier.
"""

from __future__ import annotations

import uuid_utils


def new_id() -> str:
    """Return a new UUIDv7 in text form; later ones of this process sort after earlier ones.

    Source: RFC 9562, section 5.7.
    """
    return str(uuid_utils.uuid7())
