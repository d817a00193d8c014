"""Coroutines, asynchronous generators, managers and comprehensions."""

import asyncio


class Manager:
    def __init__(self, log):
        self.log = log

    async def __aenter__(self):
        self.log.append("enter")
        return self

    async def __aexit__(self, *error):
        self.log.append(("exit", error[0] and error[0].__name__))
        return error[0] is LookupError


async def numbers(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i


async def summed(n):
    return sum([i async for i in numbers(n) if i % 2])


async def managed(log, fail):
    async with Manager(log) as manager:
        manager.log.append("body")
        if fail:
            raise LookupError("swallowed")
    return log


async def producer(queue, n):
    for i in range(n):
        await queue.put(("item", i))
    await queue.put(None)


async def consumer(queue):
    got = []
    while (item := await queue.get()) is not None:
        got.append(item)
    return got


async def slow():
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        return "cancelled"


async def main():
    queue = asyncio.Queue(2)
    async with asyncio.TaskGroup() as group:
        group.create_task(producer(queue, 5))
        consumed = group.create_task(consumer(queue))
    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    task.cancel()
    log = await managed([], False)
    results = await asyncio.gather(summed(10), managed(log, True), task, return_exceptions=True)
    return consumed.result(), results
