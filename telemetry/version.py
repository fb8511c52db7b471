"""Which release this is."""

import tomllib
from pathlib import Path
from typing import Final

VERSION: Final[str] = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"]
"""As pyproject.toml says: the one place where a release is named."""
