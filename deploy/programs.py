"""Where the servers that we start are installed."""

import os
import shutil


def find(name: str) -> str:
    """The path of a program, or just `name` where it is missing. Debian keeps servers off most people's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin") or name
