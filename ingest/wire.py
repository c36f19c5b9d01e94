"""Commands over one connection of redis-py, packed in C: building them in Python is what a client costs."""

from collections.abc import Sequence

import hiredis
from redis.asyncio.connection import AbstractConnection


def call(digest: str, arguments: Sequence[str | bytes | int]) -> bytes:
    """A call of the script with this digest."""
    packed: bytes = hiredis.pack_command(("EVALSHA", digest, *arguments))  # type: ignore[arg-type]
    return packed


async def write(connection: AbstractConnection, command: bytes) -> None:
    """Send what is packed. Raises RedisError, OSError."""
    try:
        await connection.send_packed_command(command, check_health=False)
    except RuntimeError as closed:  # uvloop's word for a socket that was closed meanwhile, which redis-py lets through
        raise ConnectionError(str(closed)) from closed


async def ask(connection: AbstractConnection, *command: str) -> bytes:
    """A command and its reply. Raises RedisError, OSError."""
    await connection.send_command(*command, check_health=False)
    reply: bytes = await connection.read_response()
    return reply
