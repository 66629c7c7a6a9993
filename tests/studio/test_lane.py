"""A lane lets in so many at once, in order, and may be made wider or narrower while jobs run."""

from __future__ import annotations

import asyncio

from edgestudio.studio.app import Studio
from edgestudio.studio.jobs.lane import Lane


def test_a_lane_is_widened_and_narrowed_while_it_is_used():
    async def scenario():
        lane, order, most, inside = Lane(1), [], 0, 0

        async def job(number: int) -> None:
            nonlocal most, inside
            async with lane:
                inside += 1
                most = max(most, inside)
                order.append(number)
                await asyncio.sleep(0.01)
                inside -= 1

        jobs = [asyncio.ensure_future(job(number)) for number in range(8)]
        await asyncio.sleep(0)
        assert inside == 1
        lane.resize(3)
        await asyncio.sleep(0)
        assert inside == 3
        jobs[5].cancel()
        lane.resize(1)
        await asyncio.gather(*jobs, return_exceptions=True)
        assert most == 3
        assert order == [0, 1, 2, 3, 4, 6, 7]
        async with asyncio.timeout(1), lane:  # no place was lost with the cancelled one
            pass

    asyncio.run(scenario())


def test_a_cancel_at_the_moment_of_its_turn_loses_no_place():
    async def scenario():
        lane = Lane(1)
        await lane.__aenter__()
        waiting = asyncio.ensure_future(lane.__aenter__())
        await asyncio.sleep(0)
        await lane.__aexit__(None, None, None)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(1), lane:
            pass

    asyncio.run(scenario())


def test_the_setting_reaches_the_lane_at_once():
    async def scenario():
        studio = Studio()
        await studio.start(discover=False)
        try:
            await asyncio.to_thread(studio.settings.change, heavy_jobs=3)
            await asyncio.sleep(0.05)
            assert studio.jobs._lanes["heavy"]._places == 3
        finally:
            await studio.stop()

    asyncio.run(scenario())
