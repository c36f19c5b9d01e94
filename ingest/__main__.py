"""The `ingest` command. Each of its commands is a function in a file of its own, which puts its parts together."""

import typer

from ingest.commands import asyncapi, audit, doctor, janitor, normalize, run, simulate, symbols

app = typer.Typer(help="Exchange WebSockets in, Redis Streams out.", no_args_is_help=True, add_completion=False)
for command in (
    run.run,
    simulate.simulate,
    audit.audit,
    symbols.symbols,
    doctor.doctor,
    normalize.normalize,
    asyncapi.asyncapi,
    janitor.janitor,
):
    app.command()(command)


def main() -> None:
    """The entry point of the command."""
    app()


if __name__ == "__main__":
    main()
