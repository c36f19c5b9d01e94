"""Names of streams, and who hears them."""

import pytest

from ingest.contract.events import Event, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import SkipFrame
from ingest.exchanges.routes import Routes

TICKER, TRADES = (StreamKey("nova", channel, "A/B") for channel in ("ticker", "trades"))


def heard(key):
    def hear(frame, now_ns):
        if frame == b"bad":
            raise ValueError("what is that?")
        return [Event(key, str(now_ns), Status(state=frame.decode(), reason=""), "window")]

    return hear


def routes():
    some = Routes()
    some.open(TICKER, {"best": heard(TICKER), "day": heard(TICKER)})
    some.open(TRADES, {"trade": heard(TRADES)})
    return some


def test_a_frame_goes_to_who_understands_it():
    (event,) = routes().hear(b"day", b"x", 7)
    assert (event.key, event.s, b"day" in routes(), b"dusk" in routes()) == (TICKER, "7", True, False)


def test_a_stream_of_several_names_is_opened_by_the_first():
    assert [routes().opened_by(names) for names in (["day"], ["trade", "best"], [])] == [[], [TRADES, TICKER], []]


def test_what_was_let_go_is_unheard_and_keeps_its_stream():
    some = routes()
    some.let_go(["best", "day"])
    assert (some.hear(b"best", b"bad", 0), some.keys["best"]) == ((), TICKER)


@pytest.mark.parametrize(
    ("name", "why"), [(b"trade", "what is that"), (b"dusk", "nobody subscribed"), (b"\xff", "nobody")]
)
def test_what_cannot_be_understood_is_skipped_with_its_name_and_bytes(name, why):
    with pytest.raises(SkipFrame, match=why) as skipped:
        routes().hear(name, b"bad", 0)
    assert (skipped.value.frame, skipped.value.stream) == (b"bad", name.decode(errors="replace"))
