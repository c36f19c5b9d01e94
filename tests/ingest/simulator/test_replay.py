import json
import os
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from ingest.simulator.replay import Replay, replayed_binance

FRAMES = [
    b'{"stream":"nknusdt@bookTicker","data":{"u":1,"s":"NKNUSDT","b":"0.35","B":"1","a":"0.36","A":"2"}}',
    b'{"stream":"blzeth@bookTicker","data":{"u":7, "s":"BLZETH","b":"0.1","B":"1","a":"0.2","A":"2"}}',
    b'{"stream":"nknusdt@bookTicker","data":{"u":2,"s":"NKNUSDT","b":"0.35","B":"3","a":"0.36","A":"2"}}',
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "binance.tsv").write_bytes(b"".join(b"1633998512.06\t%b\n" % frame for frame in FRAMES))
    (tmp_path / "rest").mkdir()
    (tmp_path / "rest" / "binance_exchangeInfo.json").write_bytes(b'{"serverTime": 7}')
    (tmp_path / "rest" / "binance_depth_NKNUSDT.json").write_bytes(b'{"lastUpdateId": 1, "bids":[], "asks":[]}')
    return tmp_path


async def test_who_subscribes_is_told_what_was_recorded_byte_for_byte(folder: Path):
    async with replayed_binance(folder=folder) as exchange, connect(f"{exchange.stream_url}/stream") as client:
        await client.send('{"method":"SUBSCRIBE","params":["nknusdt@bookTicker"],"id":1}')
        first = [await client.recv(decode=False) for _ in range(3)]
        await client.send('{"method":"SUBSCRIBE","params":["blzeth@bookTicker"],"id":2}')
        second = [await client.recv(decode=False) for _ in range(2)]
    assert (first, second) == (
        [b'{"result":null,"id":1}', FRAMES[0], FRAMES[2]],
        [b'{"result":null,"id":2}', FRAMES[1]],
    )


def test_recorded_answers_are_given_unchanged(folder: Path):
    replay = Replay(folder)
    answers = [
        replay.get(f"/api/v3/{target}", 5_000_000)
        for target in (
            "exchangeInfo",
            "depth?symbol=NKNUSDT&limit=1000",
            "depth?symbol=NOSUCH",
            "historicalTrades?symbol=NKNUSDT&fromId=1",
            "time",
            "elsewhere",
        )
    ]
    assert [(answer.status, answer.body) for answer in answers] == [
        (200, b'{"serverTime": 7}'),
        (200, b'{"lastUpdateId": 1, "bids":[], "asks":[]}'),
        (400, b'{"code":-1121,"msg":"Invalid symbol."}'),
        (200, b"[]"),
        (200, b'{"serverTime":5}'),
        (404, b'{"code":-1,"msg":"no such path"}'),
    ]


def test_who_leaves_is_forgotten(folder: Path):
    replay = Replay(folder)
    session = replay.connect("/stream?streams=nknusdt@bookTicker")
    session.leave()
    replay.advance(0)
    assert list(session.outgoing) == []


def test_a_folder_without_recordings_is_refused(tmp_path: Path):
    with pytest.raises(OSError, match=r"binance\.tsv"):
        Replay(tmp_path)


@pytest.mark.skipif("FRAMES" not in os.environ, reason="FRAMES does not name a folder of recorded frames")
async def test_a_real_recording_is_told_whole():
    folder = Path(os.environ["FRAMES"])
    recorded = [line.partition(b"\t")[2] for line in (folder / "binance.tsv").read_bytes().splitlines()]
    names = sorted({json.loads(frame)["stream"] for frame in recorded})
    async with replayed_binance(folder=folder) as exchange, connect(f"{exchange.stream_url}/stream") as client:
        await client.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
        await client.recv()
        told = [await client.recv(decode=False) for _ in recorded]
        address = f"{exchange.rest_url}/api/v3/exchangeInfo"
        async with aiohttp.ClientSession() as http, http.get(address) as answer:
            info = await answer.read()
    assert (told, info) == (recorded, (folder / "rest" / "binance_exchangeInfo.json").read_bytes())
