"""REST: answers, refusals and silences, against a real server on the loopback."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from ingest.exchanges.exchange import Fetch, FetchFailed
from ingest.rest import Rest
from tests.end_to_end.running import plenty


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.path}?{request.query_string}")

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "0"}, text='{"code":-1003}')

    async def large(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 3_000_000)

    app = web.Application()
    app.add_routes([web.get("/echo", echo), web.get("/refuse", refuse), web.get("/large", large)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name
    await runner.cleanup()


def fetch(path: str, *params: tuple[str, str]) -> Fetch:
    return Fetch(path, params, 1, "tag")


async def ask(redis, address: str, request: Fetch) -> bytes | FetchFailed:
    async with Rest(address, plenty(redis).weight) as rest:
        return await rest.get(request)


async def test_the_body_of_an_answer_comes_back(redis, address):
    assert (
        await ask(redis, address, fetch("/echo", ("symbol", "BTCUSDT"), ("limit", "5")))
        == b"/echo?symbol=BTCUSDT&limit=5"
    )


async def test_a_large_body_comes_back_whole(redis, address):
    assert await ask(redis, address, fetch("/large")) == b"x" * 3_000_000


async def test_a_refusal_is_an_answer_too(redis, address):
    assert await ask(redis, address, fetch("/refuse")) == FetchFailed(429, '{"code":-1003}')


async def test_an_address_where_nobody_listens_is_named(redis):
    answer = await ask(redis, "http://127.0.0.1:9", fetch("/"))
    assert (type(answer), answer.status, "127.0.0.1:9" in answer.reason) == (FetchFailed, 0, True)
