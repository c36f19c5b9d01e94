"""The contract's README says what the code says."""

import json
import re
from inspect import getmembers, isfunction, signature
from pathlib import Path
from typing import get_args

import msgpack
import pytest
from msgspec import inspect

import ingest.contract
from ingest.contract import keys
from ingest.contract.append import SCRIPT
from ingest.contract.codec import MAX_BYTES, decode, encode
from ingest.contract.events import MAX_LEVELS, Rule
from ingest.contract.instruments import Listed
from ingest.contract.keys import StreamKey, parse_key
from tests.ingest.contract.bodies import TYPES

README = (Path(ingest.contract.__file__).parent / "README.md").read_text(encoding="utf-8")
TYPE_NAMES = [kind.__name__.lower() for kind in TYPES]
HEADER = ["v", "type", "n", "g", "s", "data", "epoch", "late"]


def section(title):
    """What stands below a heading, up to the next one."""
    _, _, rest = README.partition(f"# {title}\n")
    assert rest, title
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text):
    """The tables in it, without their heads, as cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for i, line in enumerate(lines)
        if not line.startswith("|---") and not (i + 1 < len(lines) and lines[i + 1].startswith("|---"))
    ]


def example(name):
    """Key, id and fields of the entry below a type's table."""
    first, *lines = section(name).split("```")[1].strip().splitlines()
    key, entry_id = first.split(" ")
    fields = dict(re.split(" +", line, maxsplit=1) for line in lines)
    return key, entry_id, fields


@pytest.mark.parametrize("kind", TYPES, ids=TYPE_NAMES)
def test_a_type_has_exactly_the_fields_in_its_table(kind):
    table = [(name.strip("`"), present == "always") for name, present, _, _ in rows(section(kind.__name__.lower()))]
    assert table == [(field.name, field.required) for field in inspect.type_info(kind).fields]


@pytest.mark.parametrize("kind", TYPES, ids=TYPE_NAMES)
def test_a_field_with_few_values_names_them_all(kind):
    said = {name.strip("`"): re.findall("`(.+?)`", unit) for name, _, unit, _ in rows(section(kind.__name__.lower()))}
    kinds = {field.name: getattr(field.type, "types", (field.type,)) for field in inspect.type_info(kind).fields}
    few = {
        name: list(each.values) for name, of in kinds.items() for each in of if isinstance(each, inspect.LiteralType)
    }
    assert {name: sorted(values) for name, values in said.items() if values} == few


@pytest.mark.parametrize("kind", TYPES, ids=TYPE_NAMES)
def test_an_example_is_an_entry_and_written_again_the_same(kind):
    key, entry_id, fields = example(kind.__name__.lower())
    data = msgpack.packb(json.loads(fields["data"]))
    entry = decode(
        entry_id.encode(), {name.encode(): value.encode() for name, value in fields.items()} | {b"data": data}
    )
    assert (
        type(entry.event),
        encode(entry.event),
        str(parse_key(key)),
        [name for name in HEADER if name in fields],
    ) == (
        kind,
        data,
        key,
        list(fields),
    )


def test_an_instrument_has_exactly_the_fields_in_its_table():
    table = [(name.strip("`"), present == "always") for name, present, _ in rows(section("Instruments"))]
    assert table == [(field.name, field.required) for field in inspect.type_info(Listed).fields]


def test_no_type_is_left_out_and_none_is_made_up():
    assert re.findall(r"^### (\w+)$", README, flags=re.MULTILINE) == TYPE_NAMES


def test_the_header_fields_stand_in_their_order():
    table = [(row[0].strip("`"), row[1] == "always") for row in rows(section("Entries")) if len(row) == 3]
    assert table == [(name, name not in ("epoch", "late")) for name in HEADER]


def test_every_rule_is_explained():
    said = [row[0].strip("`") for row in rows(section("How an entry gets in"))]
    assert sorted(said) == sorted(get_args(Rule))


def test_every_key_is_explained_as_the_code_spells_it():
    stream = StreamKey("EXCHANGE", "CHANNEL", "BASE/QUOTE")
    companions = [name.replace(str(stream), "STREAM") for name in (stream.state, stream.gaps, stream.ids, stream.snap)]
    makers = [
        maker for _, maker in getmembers(keys, isfunction) if next(iter(signature(maker).parameters)) == "exchange"
    ]
    made = [maker(*(_PLACES.get(name, name.upper()) for name in signature(maker).parameters)) for maker in makers]
    said = {row[0].strip("`") for row in rows(section("Keys"))}
    assert {keys.EXCHANGES, *companions, *made} - said == set()


_PLACES = {"symbol": "BASE-QUOTE"}


def test_the_limits_are_those_of_the_code():
    said = dict(rows(section("Limits")))
    window = re.search(r"WINDOW = (\d+)", SCRIPT)[1]
    assert (said["`data` of one entry"], said["levels of a book entry, each side"]) == (
        f"{MAX_BYTES >> 20} MiB",
        f"{MAX_LEVELS:,}",
    )
    assert said["identities that a `window` remembers"] == f"{int(window):,}"


def test_every_link_within_leads_somewhere():
    headings = re.findall(r"^#+ (.+)$", README, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) - anchors == set()
