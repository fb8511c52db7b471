"""Passwords of people, kept as scrypt hashes: `python -m server.access.passwords` makes one.

The text form is `scrypt:<log2 of N>:<r>:<p>:<salt>:<hash>`, salt and hash in URL-safe Base64: no character of
it means anything to a shell, to Compose or in an .env file. Source: RFC 7914; the costs are OWASP's
("Password Storage Cheat Sheet", N=2^15, r=8, p=3: some 0.2 s and 32 MiB).
"""

import base64
import getpass
import hashlib
import hmac
import secrets
import sys
from typing import Final, NamedTuple, Self

_LOG_N: Final = 15
_R: Final = 8
_P: Final = 3
_BYTES: Final = 32
_MAX_LOG_N: Final = 17
_MAX_R: Final = 16
_MAX_P: Final = 16
MAX_PASSWORD: Final = 1024
"""Characters of a password that is looked at: hashing more would be work that anybody can cause."""


class PasswordHash(NamedTuple):
    """One stored password."""

    log_n: int
    r: int
    p: int
    salt: bytes
    hashed: bytes

    @classmethod
    def make(cls, password: str) -> Self:
        """The hash of a new password, with a salt of its own."""
        salt = secrets.token_bytes(_BYTES // 2)
        return cls(_LOG_N, _R, _P, salt, _scrypt(password, _LOG_N, _R, _P, salt))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The hash in its text form. Raises ValueError for anything else, also for costs nobody should pay."""
        name, *costs, salt, hashed = text.split(":") if text.count(":") == 5 else ("", "", "")  # noqa: PLR2004 # its parts
        if name != "scrypt" or not all(cost.isascii() and cost.isdigit() for cost in costs):
            raise ValueError("not a password hash: `python -m server.access.passwords` makes one")
        log_n, r, p = map(int, costs)
        if not (1 <= log_n <= _MAX_LOG_N and 1 <= r <= _MAX_R and 1 <= p <= _MAX_P):
            raise ValueError("a password hash of costs that are too high")
        parts = [base64.urlsafe_b64decode(part) for part in (salt, hashed)]
        if len(parts[1]) != _BYTES:
            raise ValueError("not a password hash: its hash is cut short")
        return cls(log_n, r, p, *parts)

    def __str__(self) -> str:
        salt, hashed = (base64.urlsafe_b64encode(part).decode() for part in (self.salt, self.hashed))
        return f"scrypt:{self.log_n}:{self.r}:{self.p}:{salt}:{hashed}"

    def matches(self, password: str) -> bool:
        """Whether `password` is the one; takes its time, whichever it is."""
        given = _scrypt(password[:MAX_PASSWORD], self.log_n, self.r, self.p, self.salt)
        return hmac.compare_digest(given, self.hashed)


def _scrypt(password: str, log_n: int, r: int, p: int, salt: bytes) -> bytes:
    n = 1 << log_n
    # What it needs is 128 * r * (N + p), and a little.
    return hashlib.scrypt(
        password.encode(), salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p) + (1 << 20), dklen=_BYTES
    )


def main() -> None:
    """Read a password, twice from a terminal or once from a pipe, and print its hash."""
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            sys.exit("These are two passwords.")
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not 0 < len(password) <= MAX_PASSWORD:
        sys.exit(f"A password has 1 to {MAX_PASSWORD} characters.")
    sys.stdout.write(f"{PasswordHash.make(password)}\n")


if __name__ == "__main__":
    main()
