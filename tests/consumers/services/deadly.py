"""A service whose process does not survive the second trade of BTC: `python -m tests.consumers.services.deadly`."""

import os
import sys
import time

from consumers.commands.given import settings
from consumers.commands.run import serve
from consumers.services import lines

PARTITION, WAY = sys.argv[1:]


class Deadly:
    name = "deadly"
    channels = ("trades",)
    partition = PARTITION

    async def handle(self, delivery):
        if delivery.key.symbol == "BTC/USDT" and delivery.entry.s == "2":
            if WAY == "exits":
                os._exit(3)
            time.sleep(60)  # noqa: ASYNC251 - this is what it does wrong
        await delivery.commit(("HINCRBY", "handled:{binance}", f"{delivery.key} {delivery.entry.s}", 1))


if __name__ == "__main__":
    lines.DELIVERIES = 3
    os.environ |= {"CONSUMER_TIME_LIMIT_S": "0.5", "CONSUMER_LEASE_MS": "500", "CONSUMER_CLAIM_IDLE_MS": "300"}
    serve(lambda _: Deadly(), settings())
