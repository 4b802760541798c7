import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.server.inbox import Inbox


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_messages_come_out_in_order() -> None:
    inbox = Inbox(high_water_s=4.0, low_water_s=1.0)
    for message in (b"a", "b", b"c"):
        await inbox.put(message, 0.1)
    assert [await inbox.get() for _ in range(3)] == [b"a", "b", b"c"]
    assert inbox.waiting_s == 0.0


async def test_putting_waits_from_high_water_to_low_water() -> None:
    inbox = Inbox(high_water_s=2.0, low_water_s=0.5)
    await inbox.put(b"1", 1.0)
    putting = asyncio.create_task(inbox.put(b"2", 1.0))
    await settle()
    assert inbox.full
    assert not putting.done()
    await inbox.get()
    await settle()
    assert not putting.done()  # below high water, but not yet at low water
    await inbox.get()
    await settle()
    assert putting.done()


async def test_empty_messages_count_too() -> None:
    inbox = Inbox(high_water_s=1.0, low_water_s=0.5)
    for _ in range(49):
        await inbox.put("", 0.0)
    putting = asyncio.create_task(inbox.put("", 0.0))
    await settle()
    assert not putting.done()
    inbox.close()
    await putting


async def test_getting_waits_for_a_message() -> None:
    inbox = Inbox(high_water_s=1.0, low_water_s=0.5)
    getting = asyncio.create_task(inbox.get())
    await settle()
    assert not getting.done()
    await inbox.put(b"x", 0.1)
    assert await getting == b"x"


async def test_it_is_busy_until_the_next_message_is_asked_for() -> None:
    inbox = Inbox(high_water_s=1.0, low_water_s=0.5)
    assert not inbox.busy
    await inbox.put(b"x", 0.1)
    assert inbox.busy
    await inbox.get()
    assert inbox.busy  # being worked on
    getting = asyncio.create_task(inbox.get())
    await settle()
    assert not inbox.busy
    inbox.close()
    assert await getting is None


async def test_closing_drops_what_waits_and_wakes_both() -> None:
    inbox = Inbox(high_water_s=1.0, low_water_s=0.5)
    putting = asyncio.create_task(inbox.put(b"x", 2.0))
    await settle()
    inbox.close()
    await putting
    assert await inbox.get() is None
    await inbox.put(b"y", 2.0)  # nobody waits for ever
    assert await inbox.get() is None


async def test_what_comes_while_the_line_closes_is_not_kept() -> None:
    inbox: Inbox[int] = Inbox(high_water_s=1.0, low_water_s=0.5)
    inbox.close()
    for number in range(100):  # a gateway that floods does not hear that the call is over
        await inbox.put(number, 0.5)
    assert inbox.waiting_s == 0.0
    assert not inbox.busy


@pytest.mark.parametrize(("high", "low"), [(1.0, 1.0), (1.0, 2.0), (1.0, -0.1)])
def test_marks_are_checked(high: float, low: float) -> None:
    with pytest.raises(ValueError, match="low_water_s"):
        Inbox(high_water_s=high, low_water_s=low)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=30))
def test_what_waits_is_bounded(costs: list[float]) -> None:
    async def check() -> None:
        inbox = Inbox(high_water_s=4.0, low_water_s=1.0)

        async def put_all() -> None:
            for number, cost in enumerate(costs):
                await inbox.put(str(number), cost)
                assert inbox.waiting_s < 4.0  # room again

        putting = asyncio.create_task(put_all())
        got = []
        for _ in costs:
            await settle()
            assert inbox.waiting_s < 4.0 + 3.0
            got.append(await inbox.get())
        await putting
        assert got == [str(number) for number in range(len(costs))]

    asyncio.run(check())
