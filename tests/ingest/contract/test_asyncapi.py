"""The document describes what is written: everything that can be encoded, and nothing that can not be read."""

import json

import msgpack
import pytest
from hypothesis import given, settings
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from ingest.__main__ import app
from ingest.contract.asyncapi import CHANNELS, channel_of, document
from ingest.contract.codec import encode
from ingest.contract.keys import StreamKey
from tests.ingest.contract.bodies import ANY, TYPES
from tests.ingest.contract.described import problems
from tests.ingest.contract.test_readme import TYPE_NAMES, example, rows, section

DOCUMENT = document("1.2.3")
MARKETS = {name: types for name, types in CHANNELS.items() if name != "dead_letters"}


@settings(derandomize=True, max_examples=300, deadline=None)
@given(ANY)
def test_whatever_can_be_encoded_is_described(body):
    payload = {"$ref": f"#/components/schemas/{type(body).__name__}", "components": DOCUMENT["components"]}
    assert list(Draft7Validator(payload).iter_errors(msgpack.unpackb(encode(body)))) == []


@pytest.mark.parametrize("kind", TYPES, ids=TYPE_NAMES)
def test_the_readme_s_examples_are_described(kind):
    key, _, fields = example(kind.__name__.lower())
    fields = {name.encode(): value.encode() for name, value in fields.items()}
    fields[b"data"] = msgpack.packb(json.loads(fields[b"data"]))
    assert problems(DOCUMENT, key, fields) == []


TRADE = {"price": "1", "amount": "2", "side": "buy", "received_ns": 7}
BOOK = {"bids": [["1", "2"]], "asks": [], "received_ns": 7}
HEADERS = {"v": "1", "type": "trade", "n": "1", "g": "a", "s": "5"}


@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({}, TRADE | {"price": 1.0}),
        ({}, TRADE | {"price": "1e-7"}),
        ({}, TRADE | {"price": "-1"}),
        ({}, TRADE | {"price": None}),
        ({}, TRADE | {"exchange_ns": None}),
        ({}, TRADE | {"side": "hold"}),
        ({}, {"price": "1"}),
        ({"v": "2"}, TRADE),
        ({"n": "0"}, TRADE),
        ({"n": ""}, TRADE),
        ({"s": ""}, TRADE),
        ({"late": "0"}, TRADE),
        ({"type": "delta"}, BOOK),
        ({"type": "delta", "epoch": "1"}, BOOK | {"bids": [["1"]]}),
        ({"type": "delta", "epoch": "1"}, BOOK | {"bids": [["1", "x"]]}),
        ({"type": "delta", "epoch": "1"}, BOOK | {"asks": [["1", "2", "3"]]}),
    ],
)
def test_what_breaks_the_contract_is_not_described(headers, data):
    kind = headers.get("type", "trade")
    key = f"md:{{binance}}:{'trades' if kind == 'trade' else 'orderbook'}:BTC-USDT"
    fields = {name.encode(): value.encode() for name, value in (HEADERS | headers).items()}
    assert problems(DOCUMENT, key, {**fields, b"data": msgpack.packb(data)}) != []


def test_what_is_in_a_channel_is_what_the_readme_says():
    said = {
        cells[0].strip("`").partition("`")[0]: tuple(cells[1].split(", "))
        for cells in rows(section("Keys"))
        if len(cells) == 3 and cells[0].strip("`").partition("`")[0].removesuffix("-1m") in MARKETS
    }
    assert {channel_of(name): types for name, types in said.items()} == MARKETS


def test_an_address_is_the_key_of_a_stream():
    values = {"exchange": "{binance}", "symbol": "BTC-USDT", "interval": "5m"}
    channels = {"candles": "candles-5m"}
    assert {
        name: channel["address"].format(**values) for name, channel in DOCUMENT["channels"].items() if name in MARKETS
    } == {
        name: str(StreamKey("binance", channels.get(name, name), "" if name == "status" else "BTC/USDT"))
        for name in MARKETS
    }


def test_every_reference_leads_somewhere():
    def references(node):
        if isinstance(node, dict):
            yield from [node["$ref"]] if "$ref" in node else []
            node = list(node.values())
        if isinstance(node, list):
            for each in node:
                yield from references(each)

    found = set(references(DOCUMENT))
    for reference in found:
        node = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            node = node[name]
    assert len(found) == len(TYPES) * 2 + 1 + len(CHANNELS)


def test_the_command_prints_it():
    result = CliRunner().invoke(app, ["asyncapi"])
    said = json.loads(result.stdout)
    assert (result.exit_code, said) == (0, document(said["info"]["version"]))
