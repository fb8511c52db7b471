"""Copies the browser libraries of the page from node_modules into clients/web/vendor, with their licences.

The copies are committed, byte for byte as npm delivers them, so that the page works without Node.
Run by `make vendor` after a version in package.json changed.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
MODULES: Final = ROOT / "node_modules"
VENDOR: Final = ROOT / "clients" / "web" / "vendor"


class Library(NamedTuple):
    """One vendored ES module: npm package, its bundle, our file name, and the packages inside the bundle."""

    package: str
    bundle: str
    file: str
    contains: tuple[str, ...]


LIBRARIES: Final = (
    Library(
        package="socket.io-client",
        bundle="dist/socket.io.esm.min.js",
        file="socket.io.js",
        contains=("@socket.io/component-emitter", "engine.io-client", "engine.io-parser", "socket.io-parser"),
    ),
    Library(
        package="lightweight-charts",
        bundle="dist/lightweight-charts.standalone.production.mjs",
        file="lightweight-charts.js",
        contains=("fancy-canvas",),
    ),
)


def vendor(modules: Path, target: Path) -> None:
    """Replace the folder `target` by fresh copies out of `modules`, and list them in `versions.json`.

    The list holds, by file name: package, version, licence (SPDX), sha256. Raises FileNotFoundError
    with the command to run where a package is not installed.
    """
    if missing := [library.package for library in LIBRARIES if not (modules / library.package).is_dir()]:
        raise FileNotFoundError(f"not installed: {', '.join(missing)}. Run `npm ci` first.")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    listed = {library.file: _copy(library, modules, target) for library in LIBRARIES}
    (target / "versions.json").write_text(json.dumps(listed, indent=2) + "\n")


def _copy(library: Library, modules: Path, target: Path) -> dict[str, str]:
    bundle = (modules / library.package / library.bundle).read_bytes()
    (target / library.file).write_bytes(bundle)
    # A bundle has no types of its own; the compiler that checks the page takes the package's.
    (target / library.file).with_suffix(".d.ts").write_text(f'export * from "{library.package}";\n')
    for package in (library.package, *library.contains):
        _copy_licence(modules / package, target / "licences", package)
    manifest = json.loads((modules / library.package / "package.json").read_text())
    return {
        "package": library.package,
        "version": manifest["version"],
        "licence": manifest["license"],
        "sha256": hashlib.sha256(bundle).hexdigest(),
    }


def _copy_licence(package: Path, licences: Path, name: str) -> None:
    licences.mkdir(exist_ok=True)
    file = licences / f"{name.replace('/', '-').lstrip('@')}.txt"
    source = package / "LICENSE"
    if source.is_file():
        shutil.copyfile(source, file)
        return
    # Some packages name their licence in package.json and ship no text.
    manifest = json.loads((package / "package.json").read_text())
    author = manifest.get("author", "its authors")
    file.write_text(f"{name} {manifest['version']}: {manifest['license']}, by {author}\n")


def main() -> None:
    """Copy into clients/web/vendor."""
    try:
        vendor(MODULES, VENDOR)
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
