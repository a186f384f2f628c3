"""Asynchronous generators that are left in all the ways there are."""

import asyncio
import gc

from side import flush, span


async def within(name):
    with span(name):
        for number in range(10):
            await asyncio.sleep(0)
            yield number


@span("decorated")
async def decorated():
    for number in range(10):
        await asyncio.sleep(0)
        yield number


async def broken_off():
    async for _ in within("break"):
        break


async def cancelled():
    async def consume():
        async for _ in within("cancel"):
            await asyncio.sleep(30)

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("cancelled")


async def closed_elsewhere():
    generator = within("elsewhere")
    await anext(generator)
    await asyncio.create_task(generator.aclose())


async def forgotten():
    generator = within("forgotten")
    await anext(generator)
    del generator
    gc.collect()


async def main():
    async for _ in decorated():
        break
    with span("beside"):
        pass
    for case in (broken_off, cancelled, closed_elsewhere, forgotten):
        await case()
        await asyncio.sleep(0.01)


asyncio.run(main())
gc.collect()
flush(5)
