import msgspec
import pytest
from msgspec import structs

from ingest.audit.report import FAULTS, GroupReport, Report, StreamReport, WriterReport
from ingest.audit.table import table

BTC, ETH = "md:{okx}:trades:BTC-USD", "md:{okx}:trades:ETH-USD"
GOOD = StreamReport(key=BTC, entries=3, oldest_n=1, generations=1, emitted=4, in_stream=3, in_gaps=1, gaps=1)
BAD = StreamReport(
    key=ETH,
    entries=3,
    oldest_n=1,
    generations=1,
    emitted=4,
    in_stream=3,
    unaccounted=1,
    examples=("trade 7 was emitted and is not in the stream",),
)


def group(**counts: int) -> GroupReport:
    usual = {"written": 9, "trimmed": 0, "effected": 5, "pending": 1, "unread": 3}
    return GroupReport(group="bot", key=GOOD.key, **usual | counts)


def writer(**said: object) -> WriterReport:
    counts = {"queued": 1, "unconfirmed": 2, "tail": 30, "spilled": 4, "lost_on_disk": 0}
    usual = {"exchange": "binance", "writer": "host-1", "silent_s": 0.4, "ended": False, "living": True}
    return WriterReport(**{**usual, **counts, **said})


def test_a_report_reads_as_a_table():
    report = Report(streams=(GOOD, BAD), groups=(group(), group(trimmed=2, unread=1)), writers=(writer(),))
    assert table(report) == "\n".join(
        (
            "stream                   entries      n  gaps  emitted  in stream  in gaps  unaccounted",
            "md:{okx}:trades:BTC-USD        3  dense     1        4          3        1            -  proven",
            "md:{okx}:trades:ETH-USD        3  dense     -        4          3        -            1  NOT BALANCED",
            "  md:{okx}:trades:ETH-USD: trade 7 was emitted and is not in the stream",
            "",
            "group                        written  effected  pending  unread  missing",
            "bot md:{okx}:trades:BTC-USD        9         5        1       3        0  balanced",
            "bot md:{okx}:trades:BTC-USD        9         5        1       1        2  not provable: trimmed",
            "",
            "writer          queued  unconfirmed  tail  on its disk",
            "binance host-1       1            2    30            4  living",
            "",
            "2 streams: 1 NOT BALANCED, 1 proven",
            "under way: 7 events are with their writers, and not in Redis yet",
            "",
            "NOT BALANCED",
        )
    )


def test_a_healthy_bus_has_no_columns_of_faults():
    quiet = StreamReport(key=BTC, entries=3, oldest_n=1, generations=1)
    assert table(Report((quiet,), (group(),))).splitlines()[0] == "stream                   entries      n"


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "breaks"])
def test_each_fault_has_a_column_once_there_is_one_and_unbalances(fault):
    report = Report((structs.replace(GOOD, **{fault: 7}),), ())
    said = table(report).splitlines()
    assert (fault in said[0], "  7" in said[1], report.balanced) == (True, True, False)


def test_breaks_stand_where_dense_would():
    said = table(Report((structs.replace(GOOD, breaks=2),), ())).splitlines()
    assert ("2 breaks" in said[1], "dense" in said[1]) == (True, False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trimmed": 5}, "trimmed"),
        ({"late": 5}, "late"),
        ({"ids_lost": 5}, "ids lost"),
        ({"tail": 5}, "tail"),
        ({"durable_n": 5}, "safe to n"),
        ({"before": 5}, "before"),
        ({"superseded": 5}, "superseded"),
        ({"generations": 5}, "generations"),
    ],
)
def test_what_is_no_fault_has_a_column_once_there_is_some(changes, words):
    said = table(Report((structs.replace(GOOD, **changes),), ())).splitlines()
    assert (words in said[0], "  5" in said[1], said[-1]) == (True, True, "balanced")


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "proven"),
        ({"oldest_n": 12, "trimmed": 11}, "proven since n=12"),
        ({"unprovable": "no ids"}, "not provable: no ids"),
        ({"unprovable": "no ids", "breaks": 1}, "NOT BALANCED"),
    ],
)
def test_a_verdict_says_what_is_proven_and_from_where_on(changes, verdict):
    assert structs.replace(GOOD, **changes).verdict == verdict


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"living": True}, "living"),
        ({"living": False, "ended": True}, "ended"),
        ({"living": False, "silent_s": 75.2}, "last heard 75 s ago"),
    ],
)
def test_a_writer_lives_has_ended_or_is_not_heard_any_more(changes, verdict):
    assert writer(**changes).verdict == verdict


def test_what_a_dead_writer_had_is_not_under_way():
    dead = writer(living=False)
    assert (Report((), (), (writer(), dead)).under_way, Report((), (), (dead,)).under_way) == (7, 0)


def test_one_stream_or_group_out_of_balance_is_enough():
    verdicts = [
        Report(streams, groups).balanced
        for streams, groups in (
            ((), ()),
            ((GOOD,), (group(),)),
            ((GOOD, BAD), (group(),)),
            ((GOOD,), (group(), group(unread=2))),
        )
    ]
    assert verdicts == [True, True, False, False]


@pytest.mark.parametrize(
    ("counts", "missing", "verdict"),
    [
        ({"effected": 4, "trimmed": 1}, 1, "not provable: trimmed"),
        ({"effected": 4, "trimmed": 1, "told": 1}, 1, "balanced"),
        ({"effected": 4}, 1, "NOT BALANCED"),
        ({"effected": 6}, -1, "NOT BALANCED"),
        ({"effected": 4, "dead": 1}, 0, "balanced"),
        ({"effected": 4, "gone": 1}, 0, "balanced"),
        ({"effected": 4, "gone": 1, "untold": 1}, 0, "NOT BALANCED"),
    ],
)
def test_only_what_was_trimmed_may_be_missing(counts, missing, verdict):
    assert (group(**counts).missing, group(**counts).verdict) == (missing, verdict)


def test_a_machine_gets_the_same_as_json():
    said = msgspec.json.decode(Report((GOOD,), (group(),), (writer(),)).json())
    assert (
        said["balanced"],
        said["under_way"],
        said["streams"][0] == structs.asdict(GOOD) | {"examples": [], "verdict": "proven"},
        said["groups"][0]["missing"],
        said["writers"][0]["verdict"],
    ) == (True, 7, True, 0, "living")
