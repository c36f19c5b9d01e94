"""What an account could come to hold if all that it may still get is filled, exact. Pure."""

from collections.abc import Mapping
from decimal import Decimal, localcontext

from msgspec import Struct
from msgspec.structs import replace

from consumers.services.accounting import EXACT, ZERO
from consumers.services.venue import TERMINAL
from ingest.contract.events import Fill, Intent, Order, Side


class Open(Struct, frozen=True, kw_only=True):
    """An approved intent that may still be filled."""

    side: Side
    amount: Decimal
    """Of which so much may be filled in all: less than was approved, once its order is over."""
    filled: Decimal = ZERO

    @property
    def remaining(self) -> Decimal:
        """What may still come."""
        return self.amount - self.filled


class Account(Struct, frozen=True):
    """One account in one symbol."""

    position: Decimal = ZERO
    """The sum of its fills."""
    open: dict[str, Open] = {}
    """By intent."""
    approved_ns: tuple[int, ...] = ()
    """When the latest intents were approved; as many as the limit of their rate needs."""

    def worst(self, side: Side) -> Decimal:
        """The position if all is filled that buys, or all that sells."""
        with localcontext(EXACT):
            may_come = sum((each.remaining for each in self.open.values() if each.side == side), start=ZERO)
            return self.position + may_come if side == "buy" else self.position - may_come


class Exposure(Struct, frozen=True):
    """All accounts in one symbol."""

    accounts: dict[str, Account] = {}
    fills_g: str = ""
    fills_n: int = 0
    """The fill up to which the positions were taken over from elsewhere."""
    missing: int = 0
    """Fills that were gone before they could be read: unless 0, nobody knows the positions."""

    def of(self, account: str) -> Account:
        """What is known of it."""
        return self.accounts.get(account, Account())

    def _with(self, name: str, account: Account) -> "Exposure":
        return replace(self, accounts={**self.accounts, name: account})

    def approve(self, intent: Intent, now_ns: int, keep: int) -> "Exposure":
        """With an intent that may be filled from now on; `keep` times of approvals are remembered."""
        account = self.of(intent.account)
        opened = Open(side=intent.side, amount=Decimal(intent.amount))
        times = (*account.approved_ns, now_ns)[-keep:]
        return self._with(
            intent.account, replace(account, open={**account.open, intent.intent_id: opened}, approved_ns=times)
        )

    def fill(self, fill: Fill) -> "Exposure":
        """With a fill; also one that belongs to nothing that was approved is held from now on."""
        account, amount = self.of(fill.account), Decimal(fill.amount)
        opened = account.open.get(fill.intent_id)
        with localcontext(EXACT):
            position = account.position + (amount if fill.side == "buy" else -amount)
            if opened:
                opened = replace(opened, filled=opened.filled + amount)
        return self._with(fill.account, _put(replace(account, position=position), fill.intent_id, opened))

    def order(self, order: Order) -> "Exposure":
        """With a state of an order: once it is over no more is filled than it says, which may be yet to come."""
        account = self.of(order.account)
        opened = account.open.get(order.intent_id)
        if opened is None or order.status not in TERMINAL:
            return self
        return self._with(order.account, _put(account, order.intent_id, replace(opened, amount=Decimal(order.filled))))


def _put(account: Account, intent_id: str, opened: Open | None) -> Account:
    if opened is None:
        return account
    others: Mapping[str, Open] = {name: each for name, each in account.open.items() if name != intent_id}
    return replace(account, open={**others, intent_id: opened} if opened.remaining > 0 else dict(others))
