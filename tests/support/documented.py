"""What docs/asyncapi.yaml says of messages, as a judge of real ones."""

from collections import Counter
from functools import cache
from typing import Any

import jsonschema

from deploy.check_documents import ASYNCAPI, Document, Example, errors_in, load


class Documented:
    """The messages of one door (`io`, `json`, `binance`), each judged by its own schema; `seen` counts them by name."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._document = _document()
        self.seen: Counter[str] = Counter()

    def check(self, key: str, body: Any) -> None:
        """Fail unless `body` is the message that the document lists as `<door>.<key>`."""
        message = self._document["components"]["messages"][f"{self._door}.{key}"]
        example = Example(f"{self._door}.{key} {str(body)[:300]}", body, message["payload"])
        if errors := errors_in(self._document, example, jsonschema.Draft7Validator):
            raise AssertionError("\n".join(errors))
        self.seen[key] += 1

    def keys(self, operation: str, *, reply: bool = False) -> set[str]:
        """The keys of the messages that an operation of the document has, or of those that answer it."""
        part = self._document["operations"][operation]
        messages = part["reply"]["messages"] if reply else part["messages"]
        return {message["$ref"].rpartition("/")[2] for message in messages}


@cache
def _document() -> Document:
    return load(ASYNCAPI.read_text())
