"""What is wrong with the shape of a request, in a client's words rather than in Python's. Pure."""

import re
from typing import Final

import msgspec

_MISMATCH: Final = re.compile(r"Expected `([^`]+)`(?:, got `([^`]+)`)?(?: - at `([^`]+)`)?")
_UNKNOWN_VALUE: Final = re.compile(r"Invalid enum value '?(.*?)'? - at `([^`]+)`", re.DOTALL)
_TYPES: Final = {
    "object": "an object",
    "array": "an array",
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
_SHOWN: Final = 40


def in_words(error: msgspec.ValidationError) -> str:
    """`symbols must be a string or an array, not a whole number`, for what msgspec has to say about a request."""
    text = str(error)
    if found := _UNKNOWN_VALUE.match(text):
        return f"Invalid {_place(found[2])}: {found[1][:_SHOWN]}"
    found = _MISMATCH.match(text)
    if found is None:
        return text.replace("`", "").replace("$.", "")
    expected = " or ".join(_TYPES.get(name, name) for name in found[1].split(" | ") if name != "null")
    actual = f", not {_TYPES.get(found[2], found[2])}" if found[2] else ""
    return f"{_place(found[3])} must be {expected}{actual}"


def _place(path: str | None) -> str:
    """A path as msgspec writes it, `$.streams[0]`, from the request's own point of view."""
    place = (path or "").removeprefix("$").removeprefix(".").removesuffix("[...]")
    return f"element {place}" if place.startswith("[") else place or "the request"
