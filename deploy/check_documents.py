"""`python -m deploy.check_documents`: are the API documents what they say they are, their examples included?

OpenAPI 3.1 by its own validator, AsyncAPI 3.0 by the schema that its authors publish (npm `@asyncapi/specs`).
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import jsonschema
import typer
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from deploy.plan import ROOT

OPENAPI: Final = ROOT / "docs" / "openapi.yaml"
ASYNCAPI: Final = ROOT / "docs" / "asyncapi.yaml"
_ASYNCAPI_SCHEMA: Final = ROOT / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
_SHOWN: Final = 300
"""How much of a finding is shown: some quote the whole document."""

Document: TypeAlias = dict[str, Any]


class Example(NamedTuple):
    """A value that a document gives, where it does so, and the schema that the value should fulfil."""

    where: str
    value: Any
    schema: Mapping[str, Any]


def load(text: str) -> Document:
    """The document in a YAML file's text."""
    document: Document = yaml.safe_load(text)
    return document


def openapi_findings(document: Document) -> list[str]:
    """What is wrong with an OpenAPI 3.1 document; empty if nothing."""
    return (
        _dead_references(document)
        or _messages(OpenAPIV31SpecValidator(document).iter_errors())
        or _wrong_examples(document, openapi_examples(document), jsonschema.Draft202012Validator)
    )


def asyncapi_findings(document: Document) -> list[str]:
    """What is wrong with an AsyncAPI 3.0 document; empty if nothing."""
    schema = json.loads(_ASYNCAPI_SCHEMA.read_text())
    return (
        _dead_references(document)
        or _messages(jsonschema.Draft7Validator(schema).iter_errors(document))
        or _wrong_examples(document, asyncapi_examples(document), jsonschema.Draft7Validator)
    )


def openapi_examples(document: Document) -> Iterator[Example]:
    """Every `example` that stands beside a `schema`: of parameters, bodies and headers."""
    for where, part in _mappings(document, "#"):
        if "example" in part and "schema" in part:
            yield Example(where, part["example"], part["schema"])


def asyncapi_examples(document: Document) -> Iterator[Example]:
    """Every example of a message."""
    for name, message in document["components"]["messages"].items():
        for number, example in enumerate(message.get("examples", [])):
            yield Example(f"message {name}, example {number}", example["payload"], message["payload"])


def errors_in(document: Document, example: Example, kind: type[jsonschema.protocols.Validator]) -> list[str]:
    """How a value violates a schema of `document`; `kind` is the validator of the schema's dialect."""
    # References within the schema lead to the document's components.
    validator = kind({**example.schema, "components": document["components"]})
    return [f"{example.where}: {message}" for message in _messages(validator.iter_errors(example.value))]


def _wrong_examples(
    document: Document, examples: Iterator[Example], kind: type[jsonschema.protocols.Validator]
) -> list[str]:
    return [error for example in examples for error in errors_in(document, example, kind)]


def _messages(errors: Iterable[jsonschema.ValidationError]) -> list[str]:
    return [f"{error.json_path}: {error.message[:_SHOWN]}" for error in errors]


def _mappings(part: object, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(part, dict):
        yield where, part
    children = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, child in children:
        yield from _mappings(child, f"{where}/{key}")


def _dead_references(document: Document) -> list[str]:
    parts = (part for _, part in _mappings(document, "#"))
    references = {part["$ref"] for part in parts if isinstance(part.get("$ref"), str)}
    return [f"{reference} leads nowhere" for reference in sorted(references) if not _leads(document, reference)]


def _leads(document: Document, reference: str) -> bool:
    part: Any = document
    for key in reference.removeprefix("#/").split("/"):
        if not isinstance(part, dict) or key not in part:
            return False
        part = part[key]
    return True


def main() -> None:
    """Check both documents; exit status 1 if anything is wrong."""
    findings = [f"{OPENAPI.name}: {finding}" for finding in openapi_findings(load(OPENAPI.read_text()))]
    findings += [f"{ASYNCAPI.name}: {finding}" for finding in asyncapi_findings(load(ASYNCAPI.read_text()))]
    for finding in findings:
        typer.echo(finding, err=True)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
