"""The oracle of readers sees what it is for."""

import pytest

from tests.chaos.consumers_oracle import Verdict, judge

ENTRIES = ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("effects", "dead", "found"),
    [
        (["1", "2", "4"], ["3"], {}),
        (["1", "4"], ["3"], {"lost": 1}),
        (["1", "2", "2", "4", "1"], ["3"], {"doubled": 2}),
        (["2", "4", "1"], ["3"], {"inverted": 1}),
        (["1", "2", "4", "5"], ["3"], {"invented": 1}),
        (["1", "4"], ["2", "3"], {"buried": 1}),
        (["1", "2", "4"], ["3", "3"], {"doubled": 1}),
        (["1", "2", "3", "4"], ["3"], {"doubled": 1}),
        (["1", "2", "3", "4"], [], {"spared": 1}),
        (["1", "2", "4"], [], {"lost": 1, "spared": 1}),
    ],
)
def test_each_fault_is_found(effects, dead, found):
    assert judge("group", ENTRIES, ["3"], effects, dead) == Verdict("group", entries=4, **found)


def test_only_what_is_once_and_in_order_is_what_owners_promise():
    faults = ("lost", "doubled", "inverted", "invented", "buried", "spared")
    verdicts = {name: Verdict("group", 4, **{name: 1}) for name in faults}
    assert {name: (each.at_least_once, each.once_in_order) for name, each in verdicts.items()} == {
        name: (name in ("doubled", "inverted"), False) for name in faults
    }
    assert Verdict("group", 4).once_in_order
