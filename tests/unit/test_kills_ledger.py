"""The ledger of `python -m benchmarks kills`: it finds what a kill took, and nothing else."""

from __future__ import annotations

from benchmarks.kills import Ledger, Tally

NAME, SHOWN, OTHER = ("name", 1), ("shown", 1, 5), ("name", 2)


def looked(there: dict, asked: tuple = ()) -> Tally:
    """After a kill at second 10: the name was "a" and became "b", then "c"; a mask was shown at last."""
    ledger, tally = Ledger(newer=frozenset({"shown"})), Tally()
    ledger.say(NAME, "a", 0.0)
    ledger.kill(1.0)
    ledger.look({NAME: "a"}, lambda slot: False, tally)
    for slot, value, when in ((NAME, "b", 9.0), (NAME, "c", 9.4), (SHOWN, "m", 9.9)):
        ledger.say(slot, value, when)
    ledger.kill(10.0)
    ledger.look(there, lambda slot: slot in asked, tally)
    return tally


def test_all_of_it_is_there() -> None:
    assert looked({NAME: "c", SHOWN: "m"}).said == {"name": 3, "shown": 1}
    for there in ({NAME: "c", SHOWN: "m"}, {NAME: "c", SHOWN: "newer than was told"}):
        tally = looked(there)
        assert not tally.lost and tally.broken == []


def test_what_was_lost_is_as_old_as_the_first_of_it() -> None:
    tally = looked({NAME: "b"})
    assert tally.lost == {"name": [600.0], "shown": [100.0]}
    assert len(tally.broken) == 1 and "600.0 ms" in tally.broken[0]
    assert looked({NAME: "a", SHOWN: "m"}).lost == {"name": [1000.0]}


def test_what_nobody_said_is_wrong() -> None:
    for there in ({NAME: "x", SHOWN: "m"}, {SHOWN: "m"}, {NAME: "c", SHOWN: "m", OTHER: "y"}):
        assert len(looked(there).wrong) == 1
    assert looked({NAME: "x", SHOWN: "m"}, asked=(NAME,)).broken == []
