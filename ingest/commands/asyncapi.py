"""`ingest asyncapi`: the contract for machines."""

import json
from importlib import metadata

import typer

from ingest.contract.asyncapi import document


def asyncapi() -> None:
    """Print the contract as an AsyncAPI 3 document: every stream, and every type of entry in it."""
    typer.echo(json.dumps(document(metadata.version("tickbus")), indent=2))
