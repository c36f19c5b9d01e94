"""The board: figures as a live table for a terminal of any width, or as a line a second."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from consumers.console.figures import Figures, GroupLag, PositionFigures, StreamFigures, collect, watch
from ingest.contract.keys import StreamKey

__all__ = ["Figures", "collect", "plain", "render", "watch"]

WIDE = 132
"""From so many columns on, groups stand beside the market."""
_MARKET = {"trades": "trades/s", "ticker": "ticker/s", "orderbook": "book/s", "candles": "candles/s"}
_FLOW = ("intents", "orders", "fills")


class Board(Struct, frozen=True):
    """Figures that rich can print."""

    figures: Figures

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        market, groups = _market(self.figures), _groups(self.figures.lags)
        yield _headline(self.figures)
        yield ""
        if options.max_width >= WIDE:
            beside = Table.grid(padding=(0, 4, 0, 0), expand=True)
            beside.add_column(ratio=3)
            beside.add_column(ratio=2)
            beside.add_row(market, groups)
            yield beside
        else:
            yield Group(market, "", groups)
        if self.figures.positions:
            yield ""
            yield _positions(self.figures.positions)


def render(figures: Figures) -> Board:
    """For a terminal."""
    return Board(figures)


def plain(figures: Figures) -> tuple[str, ...]:
    """For a log: what matters most, in a line."""
    latest = _prices(figures.streams)
    several = _several(exchange for exchange, _ in latest)
    prices = [f"{_named(*where, several=several)} {_short(price)}" for where, price in latest.items()]
    groups = [
        f"{lag.group} lag {lag.entries:,} p50 {_time(lag.latency_p50_us)} p99 {_time(lag.latency_p99_us)}"
        + (f" lost {lag.lost}" if lag.lost else "")
        for lag in figures.lags
    ]
    profits = [f"PnL {total:+,.2f} {currency}" for currency, total in _profits(figures.positions).items()]
    return ("  ".join((_headline(figures).plain, *prices, *groups, *profits)),)


def _headline(figures: Figures) -> Text:
    broken = [stream.key for stream in figures.streams if stream.dense is False]
    return Text.assemble(
        (datetime.fromtimestamp(figures.at_ns / 1e9, UTC).strftime("%H:%M:%S"), "bold"),
        f"  {len(figures.streams)} streams",
        f"  {sum(stream.per_second for stream in figures.streams):,.0f} entries/s  ",
        (f"holes in n: {' '.join(map(str, broken))}", "bold red") if broken else ("n without a hole", "green"),
    )


def _market(figures: Figures) -> Table:
    """A row for each symbol: its price, entries a second of its market data, how many of its orders."""
    cells: dict[tuple[str, str], dict[str, list[StreamFigures]]] = {}
    for stream in figures.streams:
        if stream.key.symbol:
            row = cells.setdefault((stream.key.exchange, stream.key.symbol), {})
            row.setdefault(_column(stream.key), []).append(stream)
    several = _several(exchange for exchange, _ in cells)
    prices = _prices(figures.streams)
    table = _table("symbol", "price", *_MARKET.values(), *_FLOW, names=1)
    for (exchange, symbol), row in cells.items():
        table.add_row(
            _named(exchange, symbol, several=several),
            Text(_short(prices.get((exchange, symbol), "")), "bold"),
            *(_cell(row.get(column, []), counted=False) for column in _MARKET),
            *(_cell(row.get(column, []), counted=True) for column in _FLOW),
        )
    return table


def _column(key: StreamKey) -> str:
    return "candles" if key.interval else key.channel


def _cell(streams: list[StreamFigures], *, counted: bool) -> Text:
    if not streams:
        return Text("-", "dim")
    figure = f"{sum(stream.n for stream in streams):,}" if counted else f"{sum(s.per_second for s in streams):,.1f}"
    return Text(figure, "bold red" if any(stream.dense is False for stream in streams) else "")


def _groups(lags: Iterable[GroupLag]) -> Table:
    table = _table("group", "lag", "handled", "p50", "p99", "holes", "lost", names=1)
    for lag in lags:
        table.add_row(
            Text(lag.group if lag.readers else f"{lag.group} (away)", "" if lag.readers else "red"),
            Text(f"{lag.entries:,}", "green" if lag.entries < 100 else "yellow"),
            f"{lag.handled:,}",
            _time(lag.latency_p50_us),
            _time(lag.latency_p99_us),
            _bad(lag.holes),
            _bad(lag.lost),
        )
    return table


def _positions(positions: Iterable[PositionFigures]) -> Table:
    table = _table("account", "symbol", "quantity", "average", "mark", "realized", "unrealized", "fills", names=2)
    positions = tuple(positions)
    several = _several(position.exchange for position in positions)
    for position in positions:
        table.add_row(
            position.account,
            _named(position.exchange, position.symbol, several=several),
            _short(position.quantity),
            _short(position.average_price),
            _short(position.mark),
            _profit(position.realized_pnl),
            _profit(position.unrealized_pnl),
            f"{position.fills:,}",
        )
    for currency, total in _profits(positions).items():
        table.add_row("", f"in {currency}", "", "", "", "", _profit(total), "", style="bold")
    return table


def _several(exchanges: Iterable[str]) -> bool:
    return len({*exchanges}) > 1


def _named(exchange: str, symbol: str, *, several: bool) -> str:
    return f"{symbol} {exchange}" if several else symbol


def _table(*headings: str, names: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, expand=True, header_style="dim")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position < names else "right", no_wrap=True)
    return table


def _prices(streams: Iterable[StreamFigures]) -> dict[tuple[str, str], str]:
    """The latest price of each symbol, whichever stream says it."""
    prices: dict[tuple[str, str], str] = {}
    for stream in sorted(streams, key=lambda stream: stream.price_ns):
        if stream.price:
            prices[stream.key.exchange, stream.key.symbol] = stream.price
    return dict(sorted(prices.items()))


def _profits(positions: Iterable[PositionFigures]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for position in positions:
        currency = position.symbol.partition("/")[2]
        totals[currency] = totals.get(currency, Decimal(0)) + position.realized_pnl + position.unrealized_pnl
    return totals


def _profit(amount: Decimal) -> Text:
    return Text(f"{amount:+,.2f}", "green" if amount > 0 else "red" if amount < 0 else "")


def _bad(count: int) -> Text:
    return Text(f"{count:,}", "bold red" if count else "")


def _time(us: int) -> str:
    if us < 1_000:
        return f"{us} µs" if us else "-"
    return f"{us / 1_000:.1f} ms" if us < 1_000_000 else f"{us / 1_000_000:.1f} s"


def _short(number: Decimal | str) -> str:
    """To be read, not calculated with: 8 digits at most, and no zeros at the end of a fraction."""
    if number == "":
        return "-"
    exact = Decimal(number)
    places = max(0, 8 - max(exact.adjusted() + 1, 1))
    text = f"{exact:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
