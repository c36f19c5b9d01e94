"""`python -m tests.chaos`: faults by seed on a running bus, and a verdict on every event."""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from deploy.local_redis import NoRedis
from tests.chaos.faults import KINDS, SURVIVED, plan
from tests.chaos.run import Outcome, play
from tests.chaos.scene import Setting
from tests.chaos.servers import NoShim

_COLUMNS = ("emitted", "entries", "gaps", "lost", "doubled", "inverted", "unfounded", "wrong")


def main() -> int:
    """The command. Returns 1 if anything is unaccounted for."""
    told = _arguments()
    good = True
    for seed in told.seed:
        setting = Setting(
            seed=seed,
            channels=tuple(told.channels.split(",")),
            rate=told.rate,
            workers=told.workers,
            server=told.server,
            power="power" in told.faults,
        )
        faults = plan(seed, told.seconds, told.faults, told.workers, told.pace)
        folder = Path(tempfile.mkdtemp(prefix=f"tickbus-chaos-{seed}-"))
        (folder / "plan.txt").write_text("\n".join(map(str, faults)))
        outcome = asyncio.run(_asked_to_stop_by_sigterm(play(setting, faults, told.seconds, folder)))
        _say(f"seed {seed}: {told.seconds:g} s, {told.workers} worker(s), Redis {outcome.server}")
        _say(report(outcome))
        if outcome.good:
            shutil.rmtree(folder)
        else:
            _say(f"plan, logs, ledger and data are in {folder}")
        good = good and outcome.good
    return 0 if good else 1


def report(outcome: Outcome) -> str:
    """The faults, a line for each stream, and what is wrong in words."""
    width = max(len(verdict.key) for verdict in outcome.verdicts)
    lines = [
        f"{sum(outcome.faults.values())} faults: " + ", ".join(f"{n} {kind}" for kind, n in outcome.faults.items())
    ]
    lines.append(" " * width + "".join(f"{column:>10}" for column in _COLUMNS))
    lines += [
        f"{verdict.key:{width}}" + "".join(f"{getattr(verdict, column):10}" for column in _COLUMNS)
        for verdict in outcome.verdicts
    ]
    lines.append(f"{'all':{width}}" + "".join(f"{outcome.total(column):10}" for column in _COLUMNS))
    lines += [f"  {verdict.key}: {words}" for verdict in outcome.verdicts for words in verdict.words]
    lines += [f"  {trouble}" for trouble in outcome.troubles]
    return "\n".join([*lines, "everything is accounted for" if outcome.good else "NOT ACCOUNTED FOR"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="A bus under faults, and an audit of it."
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one run each")
    parser.add_argument("--seconds", type=float, default=60, help="of faults in a run")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=int, default=Setting().rate, help="market actions a second")
    parser.add_argument("--faults", type=_kinds, default=tuple(SURVIVED), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--pace", type=float, default=1.0, help="how many times as often")
    parser.add_argument("--channels", default=",".join(Setting().channels))
    parser.add_argument("--server", help="the path of a redis-server or valkey-server")
    return parser.parse_args()


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(kind for kind in text.split(",") if kind)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise argparse.ArgumentTypeError(f"no such faults: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return kinds


async def _asked_to_stop_by_sigterm(playing):
    """As by SIGINT: nothing of the scene outlives this process."""
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
