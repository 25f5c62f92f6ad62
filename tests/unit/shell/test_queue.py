"""The work queue on a clock of its own."""

import asyncio

import pytest

from modelfleet.shell.queue import BACKOFF_LIMIT_SECONDS, WorkQueue

A, B = ("team", "a"), ("team", "b")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(clock):
    return WorkQueue(clock=clock)


async def take(queue):
    """The next due key, or None when none is due now."""
    worker = asyncio.ensure_future(queue.get())
    for _ in range(5):
        await asyncio.sleep(0)
    if worker.done():
        return worker.result()
    worker.cancel()
    return None


async def test_a_key_added_many_times_is_worked_on_once(queue):
    for _ in range(5):
        queue.add(A)
    assert len(queue) == 1
    assert await take(queue) == A
    queue.done(A)
    assert await take(queue) is None


async def test_keys_come_in_the_order_in_which_they_are_due(queue, clock):
    queue.add(A, after=10)
    queue.add(B, after=5)
    assert await take(queue) is None
    clock.now += 10
    assert [await take(queue), await take(queue)] == [B, A]


async def test_the_earliest_of_several_wishes_counts(queue, clock):
    queue.add(A, after=60)
    queue.add(A, after=1)
    queue.add(A, after=30)
    clock.now += 1
    assert await take(queue) == A
    queue.done(A)
    clock.now += 100
    assert await take(queue) is None


async def test_one_worker_per_key_and_once_more_for_what_arrived_meanwhile(queue):
    queue.add(A)
    assert await take(queue) == A
    queue.add(A)
    queue.add(A)
    assert await take(queue) is None
    queue.done(A)
    assert await take(queue) == A
    queue.done(A)
    assert await take(queue) is None


async def test_another_key_is_not_held_up(queue):
    queue.add(A)
    queue.add(B)
    assert {await take(queue), await take(queue)} == {A, B}


async def test_failures_back_off_up_to_a_limit_and_success_forgets_them(queue, clock):
    queue.add(A)
    pauses = []
    for _ in range(12):
        assert await take(queue) == A
        pauses.append(queue.failed(A))
        assert await take(queue) is None
        clock.now += pauses[-1]
    assert 0.25 <= pauses[0] <= 0.5
    assert 0.5 <= pauses[1] <= 1.0
    assert 30 <= pauses[-1] <= BACKOFF_LIMIT_SECONDS
    assert await take(queue) == A
    queue.done(A)
    queue.add(A)
    assert await take(queue) == A
    assert queue.failed(A) <= 0.5


async def test_a_failure_may_name_its_own_pause(queue, clock):
    queue.add(A)
    await take(queue)
    assert queue.failed(A, after=7.0) == 7.0
    queue.add(A)  # an event does not cut the pause short
    assert await take(queue) is None
    clock.now += 7
    assert await take(queue) == A


async def test_a_key_rests_after_success(clock):
    queue = WorkQueue(clock=clock, debounce=2.0)
    queue.add(A)
    await take(queue)
    queue.done(A)
    queue.add(A)
    assert await take(queue) is None
    clock.now += 2
    assert await take(queue) == A


async def test_a_waiting_worker_is_woken(queue):
    worker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    async with asyncio.timeout(5):
        assert await worker == A


async def test_a_forgotten_key_starts_afresh(queue, clock):
    queue.add(A)
    await take(queue)
    queue.failed(A, after=100.0)
    queue.forget(A)
    queue.add(A)
    assert await take(queue) == A


async def test_news_end_the_pause_after_an_old_picture(queue, clock):
    queue.add(A)
    await take(queue)
    queue.failed(A, after=100.0, until_news=True)
    assert await take(queue) is None
    queue.add(A)
    assert await take(queue) == A
    queue.add(A)  # news that came while the old picture was worked on count too
    queue.failed(A, after=100.0, until_news=True)
    assert await take(queue) == A


async def test_without_news_an_old_picture_is_looked_at_again_later(queue, clock):
    queue.add(A)
    await take(queue)
    pause = queue.failed(A, until_news=True)
    assert await take(queue) is None
    clock.now += pause
    assert await take(queue) == A
