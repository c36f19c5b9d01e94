"""The `consume` command. Each of its commands is a function in a file of its own, which puts its parts together."""

import typer

from consumers.commands import audit, book, dlq, kill, lag, replay, run, tail

app = typer.Typer(help="Redis Streams in, effects out.", no_args_is_help=True, add_completion=False)
app.add_typer(run.app, name="run")
for command in (tail.tail, replay.replay, book.book, lag.lag, kill.kill, audit.audit):
    app.command()(command)
app.add_typer(dlq.app, name="dlq")


def main() -> None:
    """The entry point of the command."""
    app()


if __name__ == "__main__":
    main()
