import pytest

from ingest.simulator.faults import BadFault, Fault, parse, read


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("drop", Fault("drop")),
        ("drop@10s", Fault("drop", at_s=10)),
        ("drop@10", Fault("drop", at_s=10)),
        ("gap:trades:BTC/USDT@10s", Fault("gap", "trades", "BTC/USDT", 10)),
        ("gap:trades:btc-usdt@0.5s/2.5s", Fault("gap", "trades", "btc/usdt", 0.5, 2.5)),
        ("silent:candles-1m", Fault("silent", "candles-1m")),
        ("garble:*:BTC/USDT", Fault("garble", "", "BTC/USDT")),
        ("garble::BTC/USDT", Fault("garble", "", "BTC/USDT")),
        ("rest-429@5s/30s", Fault("rest-429", at_s=5, for_s=30)),
    ],
)
def test_a_fault_is_written_by_its_kind_its_stream_and_its_time(text, fault):
    assert (parse(text), parse(str(fault))) == (
        fault,
        Fault(fault.kind, fault.channel, fault.symbol, fault.at_s, fault.length_s),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gpa", "no such fault: 'gpa'; there are gap, garble"),
        ("gap@soon", "'gap@soon' is no fault: one is written KIND"),
        ("gap:trades:BTCUSDT", "is not a symbol; expected BASE/QUOTE"),
        ("gap@99999s", "99999 s is not within a day"),
        ("rest-slow@0s/61s", "no answer takes longer than 60 s"),
        ("", "is no fault"),
    ],
)
def test_a_wrong_one_is_told_what_there_is(text, why):
    with pytest.raises(BadFault, match=why.replace("[", r"\[")):
        parse(text)


def test_it_is_read_as_json_too():
    body = b'{"kind":"gap","channel":"trades","symbol":"BTC/USDT","at_s":1.5,"for_s":2}'
    assert [read(body), read(b"gap:trades:BTC/USDT@1.5s/2s")] == [Fault("gap", "trades", "BTC/USDT", 1.5, 2)] * 2


@pytest.mark.parametrize(
    "body", [b'{"kind":"gpa"}', b'{"kind":"gap","when":1}', b'{"kind":', b'{"kind":"gap","at_s":-1}', b"\xff"]
)
def test_what_is_no_fault_is_refused(body):
    with pytest.raises(BadFault):
        read(body)
