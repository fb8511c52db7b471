"""The version of this Tickcast, which pyproject.toml alone says."""

import tomllib
from pathlib import Path
from typing import Final

_PROJECT: Final = tomllib.loads((Path(__file__).parent / "pyproject.toml").read_text())["project"]

VERSION: Final[str] = _PROJECT["version"]
"""By Semantic Versioning."""
