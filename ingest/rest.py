"""REST on behalf of the pure core: paced by weight, bounded in size and time, and a refusal is an answer too."""

from types import TracebackType
from typing import Self

import aiohttp

from ingest.exchanges.exchange import Fetch, FetchFailed
from ingest.limits import Budget

_MOST_BYTES = 64 << 20
_WITHIN_S = 10


class Rest:
    """GET requests to one base address."""

    def __init__(self, base_url: str, budget: Budget) -> None:
        self.base_url = base_url
        self._budget = budget
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_WITHIN_S)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=True, headers={"User-Agent": "tickbus"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, fetch: Fetch) -> bytes | FetchFailed:
        """The body of a 200, or why there is none. Waits for the budget, and for as long as the exchange told us to."""
        answer, _ = await self.get_dated(fetch)
        return answer

    async def get_dated(self, fetch: Fetch) -> tuple[bytes | FetchFailed, str]:
        """As `get`; and the date that the answer bears, "" if it bears none."""
        assert self._session is not None
        await self._budget.spend(fetch.weight)
        try:
            async with self._session.get(self.base_url + fetch.path, params=fetch.params) as response:
                body = await response.content.read(_MOST_BYTES)
                while not response.content.at_eof() and len(body) < _MOST_BYTES:
                    body += await response.content.read(_MOST_BYTES - len(body))
                date = response.headers.get("Date", "")
                if response.status == 200 and response.content.at_eof():
                    return body, date
                # Going on regardless would lengthen the pause or the ban.
                await self._budget.obey(response.status, response.headers.get("Retry-After", ""))
                return FetchFailed(response.status, body[:300].decode(errors="replace")), date
        except aiohttp.ClientConnectorError as error:
            reason = f"cannot connect to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
            return FetchFailed(0, reason), ""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return FetchFailed(0, f"{self.base_url}: {error or type(error).__name__}"), ""
