"""The token of a collector, as clients send it."""

from __future__ import annotations

from base64 import b64decode
from hmac import compare_digest


class Token:
    """What every request must know; None asks for nothing."""

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None

    def is_in(self, authorization: str) -> bool:
        """Return whether the header has the token (bearer, or the password of any name), or none is asked for."""
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return compare_digest(given.strip().encode(), self._token)
        try:
            password = b64decode(given.strip(), validate=True).partition(b":")[2] if scheme.lower() == "basic" else b""
        except ValueError:
            return False
        return compare_digest(password, self._token)
