"""Members that come, go, die, pause and forget, in any order, at a table of leases."""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import ingest.shards.member
from ingest.shards import Member, Verb, chosen
from tests.ingest.shards.model import Node, TableModel

pytestmark = pytest.mark.slow

QUICKLY = settings(max_examples=100, stateful_step_count=40, deadline=None)
MOST = 5
SHARDS = 8


@pytest.fixture(autouse=True)
def _few_shards(monkeypatch):
    monkeypatch.setattr(ingest.shards.member, "SHARDS", SHARDS)


class PlannedChanges(RuleBasedStateMachine):
    """Members join and leave in order, and data takes its time to flow."""

    table_kind = TableModel
    member_kind = Member

    def __init__(self):
        super().__init__()
        self.table = self.table_kind()
        self.nodes: list[Node] = []
        self.count = 0
        self.granted: dict[tuple[int, int], str] = {}
        self.highest: dict[int, int] = {}
        self.served: frozenset[int] = frozenset()
        self.join()

    @rule()
    def join(self):
        if len(self.nodes) < MOST:
            self.count += 1
            self.nodes.append(Node(f"worker-{self.count}", self.table, self.member_kind))
            self.play(self.nodes[-1])

    @rule(data=st.data())
    def leave(self, data):
        self.one_of(data).member.leaving = True

    @rule(data=st.data())
    def flow(self, data):
        self.one_of(data).flow()

    @rule(some=st.randoms())
    def second(self, some):
        for node in some.sample(self.nodes, len(self.nodes)):
            self.table.now_ms += 1000 // (MOST + 1)
            self.play(node)

    @rule(data=st.data())
    def round(self, data):
        self.play(self.one_of(data))

    def one_of(self, data):
        return data.draw(st.sampled_from(self.nodes))

    def play(self, node):
        node.round()
        for shard, record in self.table.records.items():
            assert record.fence >= self.highest.get(shard, 0), f"the fence of {shard} goes back to {record.fence}"
            self.highest[shard] = record.fence
            if record.owner:
                owner = self.granted.setdefault((shard, record.fence), record.owner)
                assert owner == record.owner, f"{owner} and {record.owner} both own {shard} by {record.fence}"
        if not self.table.members:  # all leave, and there is nobody to hand over to
            self.served = frozenset()
        if node.left:
            self.nodes.remove(node)
            self.someone_is_there()

    def someone_is_there(self):
        if not self.nodes:
            self.join()

    @invariant()
    def what_once_flowed_at_its_owner_flows_at_somebody(self):
        now = frozenset[int]().union(*(node.flowing for node in self.nodes))
        assert now >= self.served, f"nobody serves {sorted(self.served - now)}"
        self.served = self.served.union(*(node.flowing & node.member.owned.keys() for node in self.nodes))

    def teardown(self):
        """Once nobody comes or goes any more, each shard is its chosen one's, and nobody else serves it."""
        for _ in range(16):
            for node in list(self.nodes):
                node.flow()
                self.table.now_ms += 1000 // len(self.nodes)
                self.play(node)
        names = [node.member.name for node in self.nodes]
        shares = {name: {s for s in range(SHARDS) if chosen(s, names) == name} for name in names}
        assert {n.member.name: (n.member.serving, set(n.member.owned)) for n in self.nodes} == {
            name: (share, share) for name, share in shares.items()
        }


class Troubles(PlannedChanges):
    """They also die and stand still, and the server loses everything."""

    def __init__(self):
        self.paused: list[Node] = []
        super().__init__()

    @rule(data=st.data())
    def die(self, data):
        self.nodes.remove(self.one_of(data))
        self.someone_is_there()

    @rule(data=st.data())
    def pause(self, data):
        self.paused.append(self.one_of(data))
        self.nodes.remove(self.paused[-1])
        self.someone_is_there()

    @rule()
    def wake(self):
        self.nodes += self.paused
        self.paused.clear()

    @rule(seconds=st.integers(1, 10))
    def redis_is_away(self, seconds):
        self.table.now_ms += 1000 * seconds

    @rule()
    def redis_is_emptied(self):
        self.table.members.clear()
        self.table.records.clear()
        self.table.now_ms += 10_000

    @invariant()
    def what_once_flowed_at_its_owner_flows_at_somebody(self):
        """Not promised here."""

    def teardown(self):
        self.wake()
        super().teardown()


def test_a_planned_change_leaves_no_gap_and_ends_with_everybody_serving_their_share():
    run_state_machine_as_test(PlannedChanges, settings=QUICKLY)


def test_whatever_happens_no_two_own_a_shard_by_the_same_fence_and_in_the_end_all_are_served():
    run_state_machine_as_test(Troubles, settings=QUICKLY)


class BreaksFirst(Member):
    """Stops serving what it is no longer chosen for, and others will see to it."""

    def answered(self, table):
        super().answered(table)
        self.serving = frozenset(shard for shard in self.serving if self._chosen[shard] == self.name)


class ForgetsFences(TableModel):
    """What is nobody's leaves the table, as a key does that expires."""

    def renew(self, *args, **options):
        self.records = {shard: record for shard, record in self.records.items() if record.expires > self.now_ms}
        return super().renew(*args, **options)

    def _record(self, shard):
        record = super()._record(shard)
        record.fence = record.fence if record.owner else 0
        return record


class BelievesTheAsker(TableModel):
    """Renews what a member read as its own a round ago, and does not look again."""

    def _carry_out(self, me, ask, until):
        record = self.records[ask.shard]
        if ask.verb == Verb.HOLD and record.owner not in ("", me) and record.fence > ask.fence:
            self._change(record, me, ask.fence, until)
        else:
            super()._carry_out(me, ask, until)


class Planned(PlannedChanges):
    member_kind = BreaksFirst


class Believing(Troubles):
    table_kind = BelievesTheAsker


class Forgetting(Troubles):
    table_kind = ForgetsFences


@pytest.mark.parametrize(
    ("wrong", "found"), [(Planned, "nobody serves"), (Forgetting, "goes back|both own"), (Believing, "goes back")]
)
def test_the_same_histories_find_out_who_hands_over_wrongly(wrong, found):
    with pytest.raises(AssertionError, match=found):
        run_state_machine_as_test(wrong, settings=settings(QUICKLY, phases=[Phase.generate]))
