"""API keys: made here, shown once, and kept as hashes in a file (`API_KEYS_FILE`, TOML).

SHA-256 is right for them, where passwords need a slow hash: a key holds 256 random bits, so that nobody
can try them through, and every request pays for the hash.
"""

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec

from server.access.claims import Claims
from server.access.credentials import KEY_PREFIX
from server.access.unauthorized import Reason, UnauthorizedError
from server.access.visitors import Grant
from server.access.watched_file import WatchedFile

MAX_KEYS: Final = 10_000
MAX_LENGTH: Final = 100
"""Characters of a key."""
_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_NAME: Final = r"[A-Za-z0-9._-]{1,64}"
_HASH: Final = r"[0-9a-f]{64}"
_ID: Final = rf"[0-9a-f]{{{2 * _ID_BYTES}}}"
_NO_HASH: Final = "0" * 64
"""What the hash of a key without an entry is compared with: that takes as long as with one."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=rf"^{_NAME}$")]
    id: Annotated[str, msgspec.Meta(pattern=f"^{_ID}$")]
    sha256: Annotated[str, msgspec.Meta(pattern=f"^{_HASH}$")]
    claims: Claims = Claims()

    @property
    def grant(self) -> Grant:
        return self.claims.grant(f"key:{self.name}", key_id=self.id)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    key: Annotated[list[_Entry], msgspec.Meta(max_length=MAX_KEYS)] = []


class NewKey(NamedTuple):
    """A key as its owner gets it, and the lines that go into the file."""

    key: str
    lines: str


def make_key(name: str) -> NewKey:
    """A new key of 256 random bits. Raises ValueError for a name that is none."""
    if not re.fullmatch(_NAME, name):
        raise ValueError("a key's name has 1 to 64 letters, digits, dots, dashes and underscores")
    key_id = secrets.token_hex(_ID_BYTES)
    key = f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return NewKey(key, f'[[key]]\nname = "{name}"\nid = "{key_id}"\nsha256 = "{_hash(key)}"\n')


class ApiKeys:
    """The keys of one file, which is read again when it changed."""

    def __init__(self, path: Path) -> None:
        self._entries: dict[str, _Entry] = {}
        self.file = WatchedFile(path, self._take)

    def grant_of(self, key: str) -> Grant:
        """What `key` grants. Raises UnauthorizedError."""
        if len(key) > MAX_LENGTH:
            raise UnauthorizedError(Reason.TOO_LONG, f"An API key has at most {MAX_LENGTH} characters")
        if not key.isascii():
            raise UnauthorizedError(Reason.MALFORMED, "This is not an API key")
        key_id = key.removeprefix(KEY_PREFIX).partition("_")[0]
        entry = self._entries.get(key_id)
        is_right = hmac.compare_digest(_hash(key), entry.sha256 if entry else _NO_HASH)
        if entry is None or not is_right:
            # The id of an entry may be logged; what else stands there may be a secret of another service.
            raise UnauthorizedError(Reason.UNKNOWN_KEY, "Unknown API key", key_id if entry else "")
        return entry.grant

    def holds(self, grant: Grant) -> bool:
        """Whether the key of a grant still grants exactly that."""
        entry = self._entries.get(grant.key_id)
        return entry is not None and entry.grant == grant

    def _take(self, data: bytes) -> None:
        """Take the contents of the file. Raises ValueError, which tells no hash."""
        entries = msgspec.toml.decode(data, type=_File).key
        by_id = {entry.id: entry for entry in entries}
        if len(by_id) != len(entries) or len({entry.name for entry in entries}) != len(entries):
            raise ValueError("two keys have the same name or id")
        self._entries = by_id


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
