"""asyncio, coroutines, asynchronous generators and generators, run to the end and left in the middle."""

import asyncio
import gc
import inspect
import types

from imaged import awaits, functions
from show import show

show(asyncio.run(awaits.main()), asyncio.run(awaits.main(), debug=True))
coroutine = awaits.managed([], False)
show(inspect.getcoroutinestate(coroutine), coroutine.cr_code.co_name, inspect.iscoroutinefunction(awaits.managed))
try:
    coroutine.send(None)
except StopIteration as end:
    show(end.value)
going = functions.generated(4)
show(next(going), going.send("sent"), going.throw(LookupError("thrown")), going.gi_frame.f_lineno - going.gi_code.co_firstlineno, going.gi_yieldfrom)
show(list(going), inspect.getgeneratorstate(going))
left = [functions.generated(2) for _ in range(5)]
show([next(each) for each in left], [inspect.getgeneratorlocals(each) for each in left])
left[0].close()
del left
gc.collect()


async def abandoned():
    async for number in awaits.numbers(10):
        if number == 2:
            return number


async def cancelled():
    task = asyncio.create_task(awaits.slow())
    await asyncio.sleep(0)
    task.cancel()
    return await task


show(asyncio.run(abandoned()), asyncio.run(cancelled()))


@types.coroutine
def old():
    return (yield "old")


async def mixed():
    return [await old(), [number async for number in awaits.numbers(0)]]


running = mixed()
show(running.send(None))
try:
    running.send("new")
except StopIteration as end:
    show(end.value)
