"""Which images go to which stores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.systemvms.image_moves import Image, Move, balance, complete

BIG, MIDDLE, SMALL, EMPTY = Image(1, 100), Image(2, 60), Image(3, 10), Image(4, 0)
COMPLETE = [
    ((), {7: 0}, ()),
    ((SMALL, BIG), {7: 0}, (Move(1, 7), Move(3, 7))),
    ((BIG, MIDDLE, SMALL), {7: 0, 8: 0}, (Move(1, 7), Move(2, 8), Move(3, 8))),
    ((BIG, MIDDLE), {7: 500, 8: 0}, (Move(1, 8), Move(2, 8))),
]


@pytest.mark.parametrize(("images", "used", "moves"), COMPLETE)
def test_all_images_go_the_largest_first_to_the_emptiest_store(images, used, moves):
    """Complete."""
    assert moves == complete(images, used)


BALANCE = [
    ((BIG,), {7: 0}, ()),
    ((BIG, MIDDLE, SMALL), {7: 0}, (Move(2, 7), Move(3, 7))),
    ((BIG, MIDDLE), {7: 500}, ()),
    ((MIDDLE, EMPTY), {7: 0, 8: 0}, ()),
]


@pytest.mark.parametrize(("images", "used", "moves"), BALANCE)
def test_images_go_while_that_makes_the_stores_more_alike(images, used, moves):
    """Balance."""
    assert moves == balance(images, used)


@given(st.lists(st.integers(0, 1000)), st.dictionaries(st.integers(1, 5), st.integers(0, 3000), min_size=1))
def test_balancing_never_makes_the_fullest_store_fuller(sizes, used):
    """Nor does it make the emptiest one emptier."""
    images = [Image(number, size) for number, size in enumerate(sizes)]
    after = {0: sum(sizes), **used}
    before = after.values()
    most, least = max(before), min(before)
    for move in balance(images, used):
        after[0] -= sizes[move.image]
        after[move.store] += sizes[move.image]
    assert (max(after.values()) <= most, min(after.values()) >= least) == (True, True)
