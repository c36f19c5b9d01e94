"""Commands over one connection of redis-py, packed in C: building them in Python is what a client costs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import hiredis
from redis.asyncio.connection import AbstractConnection


def call(digest: str, arguments: Sequence[str | bytes | int]) -> bytes:
    """A call of the script with this digest."""
    packed: bytes = hiredis.pack_command(("EVALSHA", digest, *arguments))  # type: ignore[arg-type]
    return packed


async def write(connection: AbstractConnection, command: bytes) -> None:
    """Send what is packed. Raises RedisError, OSError, and what `closed_is_away` is for."""
    await connection.send_packed_command(command, check_health=False)


async def say(connection: AbstractConnection, *command: str) -> None:
    """Send a command; its reply is to be read."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]
    await write(connection, packed)


async def ask(connection: AbstractConnection, *command: str) -> bytes:
    """A command and its reply."""
    await say(connection, *command)
    reply: bytes = await connection.read_response()
    return reply


@contextmanager
def closed_is_away() -> Iterator[None]:
    """Redis is away. uvloop has its own word for a socket that was closed meanwhile, and redis-py lets it through."""
    try:
        yield
    except RuntimeError as error:
        if "handler is closed" not in str(error):
            raise
        raise ConnectionError(str(error)) from error
