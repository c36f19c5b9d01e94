from ingest.audit.report import GroupReport, Report, StreamReport

GOOD = StreamReport(key="md:{binance}:trades:BTC-USDT", entries=3, emitted=4, in_stream=3, in_gaps=1, gaps=1)
BAD = StreamReport(
    key="md:{binance}:trades:ETH-USDT",
    entries=3,
    emitted=4,
    in_stream=3,
    unaccounted=1,
    examples=("trade 7 was emitted and is not in the stream",),
)


def group(**counts: int) -> GroupReport:
    usual = {"written": 9, "trimmed": 0, "effected": 5, "pending": 1, "unread": 3}
    return GroupReport(group="bot", key=GOOD.key, **usual | counts)


def test_a_report_reads_as_a_table():
    report = Report(streams=(GOOD, BAD), groups=(group(), group(trimmed=2, unread=1)))
    assert str(report) == "\n".join(
        (
            "stream                        entries  gaps  emitted  in stream  in gaps  unaccounted",
            "md:{binance}:trades:BTC-USDT        3     1        4          3        1            0  balanced",
            "md:{binance}:trades:ETH-USDT        3     0        4          3        0            1  NOT BALANCED",
            "  md:{binance}:trades:ETH-USDT: trade 7 was emitted and is not in the stream",
            "",
            "group                             written  effected  pending  unread  missing",
            "bot md:{binance}:trades:BTC-USDT        9         5        1       3        0  balanced",
            "bot md:{binance}:trades:BTC-USDT        9         5        1       1        2  not provable: trimmed",
            "",
            "NOT BALANCED",
        )
    )


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


def test_only_what_was_trimmed_may_be_missing():
    found = [
        (each.missing, each.balanced) for each in (group(effected=4, trimmed=1), group(effected=4), group(effected=6))
    ]
    assert found == [(1, True), (1, False), (-1, False)]
