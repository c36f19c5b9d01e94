"""`python -m tests.chaos`: faults by seed on a running bus, and a verdict on every event."""

import argparse
import asyncio
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path

from deploy.local_redis import REMEDIES, NoRedis, find_servers
from tests.chaos.disk import NoShim
from tests.chaos.faults import KINDS, OF_DISK, plan
from tests.chaos.run import Outcome, play
from tests.chaos.scene import Setting
from tests.ingest.exchanges.facts import FACTS

_COLUMNS = ("emitted", "entries", "gaps", "lost", "doubled", "inverted", "unfounded", "wrong")


def main() -> int:
    """The command. Returns 1 if anything is unaccounted for."""
    told = _arguments()
    if not told.server:
        raise NoRedis(REMEDIES)
    faults = list(_possible(told.faults))
    outcomes = [(seed, _play(told, faults, server, seed)) for server in told.server for seed in told.seed]
    if len(outcomes) > 1:
        rows = [
            (f"{outcome.server}, seed {seed}", str(outcome.faults.total()), *_totals(outcome))
            for seed, outcome in outcomes
        ]
        _say(_table([("", "faults", *_COLUMNS), *rows]))
    return 0 if all(outcome.good for _, outcome in outcomes) else 1


def _possible(kinds: Sequence[str]) -> Iterator[str]:
    """Those that can be had on this machine; what others need is said."""
    for kind in kinds:
        if kind in OF_DISK and shutil.which("cc") is None:
            _say(f"left out: {kind}, which needs a C compiler (cc) to build tests/chaos/fsync_shim.c with")
        elif kind == "disk-full" and not hasattr(resource, "prlimit"):
            _say(f"left out: {kind}, which needs Linux (prlimit)")
        else:
            yield kind


def _play(told: argparse.Namespace, kinds: Sequence[str], server: str, seed: int) -> Outcome:
    """One run, said. Its folder stays if it fails."""
    setting = Setting(
        exchange=told.exchange,
        symbols=FACTS[told.exchange].symbols,
        seed=seed,
        channels=tuple(told.channels.split(",")),
        rate=told.rate,
        workers=told.workers,
        server=server,
        durability=told.durability,
        disk=not OF_DISK.isdisjoint(kinds),
    )
    faults = plan(seed, told.seconds, kinds, told.workers, told.pace)
    folder = Path(tempfile.mkdtemp(prefix=f"tickbus-chaos-{seed}-"))
    (folder / "plan.txt").write_text("\n".join(map(str, faults)))
    outcome = asyncio.run(_ended_by_sigterm(play(setting, faults, told.seconds, folder)))
    _say(f"{outcome.server}, seed {seed}: {told.seconds:g} s, {told.workers} worker(s), {told.durability}")
    _say(report(outcome))
    if outcome.good:
        shutil.rmtree(folder)
    else:
        _say(f"plan, logs, ledger and data are in {folder}")
    return outcome


def report(outcome: Outcome) -> str:
    """The faults, a line for each stream, and what is wrong in words."""
    struck = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.faults.items()))
    streams = [(v.key, *(str(getattr(v, column)) for column in _COLUMNS)) for v in outcome.verdicts]
    lines = [f"{outcome.faults.total()} faults: {struck}"]
    lines += [_table([("", *_COLUMNS), *streams, ("all", *_totals(outcome))])]
    lines += [f"  {verdict.key}: {words}" for verdict in outcome.verdicts for words in verdict.words]
    lines += [f"  {trouble}" for trouble in outcome.troubles]
    return "\n".join([*lines, "everything is accounted for" if outcome.good else "NOT ACCOUNTED FOR"])


def _totals(outcome: Outcome) -> Sequence[str]:
    return [str(outcome.total(column)) for column in _COLUMNS]


def _table(rows: Sequence[Sequence[str]]) -> str:
    first = max(len(row[0]) for row in rows)
    return "\n".join(f"{row[0]:{first}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows)


def _arguments() -> argparse.Namespace:
    usual = Setting()
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="A bus under faults, and an audit of it."
    )
    parser.add_argument("--exchange", default=usual.exchange, help=f"of {', '.join(sorted(FACTS))}")
    parser.add_argument("--seed", type=int, nargs="+", default=[usual.seed], help="one run each")
    parser.add_argument("--seconds", type=float, default=60, help="of faults in a run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=int, default=usual.rate, help="market actions a second")
    parser.add_argument("--faults", type=_kinds, default=tuple(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--pace", type=float, default=1.0, help="how many times as often")
    parser.add_argument("--channels", default=",".join(usual.channels))
    parser.add_argument("--durability", default=usual.durability)
    parser.add_argument(
        "--server",
        nargs="+",
        default=list(find_servers()),
        help="the paths of redis-servers or valkey-servers; all that are found unless said",
    )
    return parser.parse_args()


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(kind for kind in text.split(",") if kind)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise argparse.ArgumentTypeError(f"no such faults: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return kinds


async def _ended_by_sigterm(playing: Coroutine[None, None, Outcome]) -> Outcome:
    """As by SIGINT, so that nothing of the scene outlives this process."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await playing


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (NoRedis, NoShim) as missing:
        sys.exit(str(missing))
