"""stdlib_loops NAME: loops over modules of the standard library that are written in Python, timed by pyperf."""
import pyperf

TEXT = "\n".join("line %d of %d: %s" % (i, i * i % 97, "abcdefghij"[: i % 10]) for i in range(60))


def ast_loop():
    import ast

    source = "".join("def f%d(a, b=%d, *c):\n    '''doc'''\n    return [x + b for x in c if x > a] or {a: b}\n" % (i, i) for i in range(20))
    return lambda: ast.unparse(ast.parse(source))


def asyncio_loop():
    import asyncio

    async def player(inbox, outbox, rounds):
        for _ in range(rounds):
            await outbox.put(1 + await inbox.get())

    async def ping_pong():
        left, right = asyncio.Queue(), asyncio.Queue()
        await left.put(0)
        await asyncio.gather(player(left, right, 300), player(right, left, 300))

    return lambda: asyncio.run(ping_pong())


def dataclasses_loop():
    import dataclasses

    def one():
        cls = dataclasses.make_dataclass("Point", [("x", int), ("y", int, dataclasses.field(default=0)), ("name", str, "")], order=True)
        points = [cls(i % 7, i) for i in range(50)]
        return [dataclasses.asdict(point) for point in sorted(points)]

    return one


def decimal_loop():
    import _pydecimal

    def one():
        total = _pydecimal.Decimal(0)
        for i in range(1, 60):
            total += _pydecimal.Decimal(i).sqrt() / 7
        return total

    return one


def difflib_loop():
    import difflib

    left = TEXT.splitlines()
    right = [line if i % 5 else line.replace("of", "from") for i, line in enumerate(left) if i % 11]
    return lambda: list(difflib.unified_diff(left, right))


def json_loop():
    # The C functions are left out: what is in Python is measured.
    import json.decoder
    import json.encoder
    import json.scanner

    json.encoder.c_make_encoder = json.encoder.c_encode_basestring_ascii = None
    json.decoder.scanstring = json.decoder.py_scanstring
    decoder, encoder = json.decoder.JSONDecoder(), json.encoder.JSONEncoder(indent=1)
    decoder.parse_string = json.decoder.py_scanstring
    decoder.scan_once = json.scanner.py_make_scanner(decoder)
    value = {"rows": [{"number": i, "share": i / 7, "name": "row %d" % i, "tags": ["a", "b", None, True]} for i in range(30)]}
    return lambda: decoder.decode(encoder.encode(value))


def statistics_loop():
    import statistics

    values = [i * 37 % 101 + i / 3 for i in range(200)]
    return lambda: (statistics.stdev(values), statistics.quantiles(values), statistics.linear_regression(values, values[::-1]))


def tomllib_loop():
    import tomllib

    text = "".join('[table.t%d]\nname = "row %d"\nnumber = %d\nlist = [1, 2.5, "three"]\ninline = { a = 1, b = "c" }\n' % (i, i, i) for i in range(30))
    return lambda: tomllib.loads(text)


if __name__ == "__main__":
    runner = pyperf.Runner(add_cmdline_args=lambda command, args: command.append(args.loop))
    loops = sorted(name[:-5] for name in globals() if name.endswith("_loop"))
    runner.argparser.add_argument("loop", choices=loops)
    name = runner.parse_args().loop
    runner.bench_func("loop_" + name, globals()[name + "_loop"]())
