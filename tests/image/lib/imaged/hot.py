"""Functions whose instructions are specialised once they have run some times."""

import math


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def moved(self, by):
        return Point(self.x + by, self.y + by)


class Account:
    interest = 2

    def __init__(self, balance):
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount
        return self.balance

    @property
    def doubled(self):
        return self.balance * self.interest


def arithmetic(n):
    i, f, s = 0, 0.0, ""
    for k in range(n):
        i = i + k
        i = i - 1
        i = i * 1
        f = f + 1.5
        f = f * 1.0
        s = s + "x"
    return i, f, s


def attributes(n):
    account = Account(0)
    point = Point(1, 2)
    for k in range(n):
        account.deposit(k)
        account.balance = account.doubled - account.balance
        point.x = point.y + Account.interest
    return account.balance, point.x


def slots_and_calls(n):
    point = Point(0, 0)
    for k in range(n):
        point = point.moved(k)
    return point.x


def containers(n):
    items, table, pair = list(range(8)), {"key": 1, "other": 2}, (1, 2)
    total = 0
    for k in range(n):
        total += items[k & 7] + table["key"] + pair[1]
        items[k & 7] = k
        table["other"] = k
        a, b = pair
        total += a + b + len(items)
        total += "key" in table
    return total


def calls(n):
    total = 0
    for k in range(n):
        total += callee(k)
        total += callee(k, by=2)
        total += len("abc") + abs(-k) + int(isinstance(k, int))
        total += math.floor(1.5)
        total += str(k).__len__()
    return total


def callee(value, by=1):
    return value + by


def compared(n):
    count = 0
    for k in range(n):
        if k == 7:
            count += 1
        if 1.5 < k + 0.5:
            count += 1
        if "a" == "b":
            count += 1
        if not [k]:
            count += 1
        if k is None:
            count += 1
    return count


def globals_and_builtins(n):
    total = 0
    for k in range(n):
        total += SCALE * min(k, 3)
    return total


def generators(n):
    def numbers():
        yield from range(n)

    total = 0
    for k in numbers():
        total += k
    return total, sum(k for k in range(n))


def methods(n):
    items = []
    for k in range(n):
        items.append(k)
        "a b".split()
        super_of = Derived(k).value()
    return len(items), super_of


class Derived(Account):
    def value(self):
        return super().deposit(1)


SCALE = 3
ALL = (arithmetic, attributes, slots_and_calls, containers, calls, callee, compared, globals_and_builtins, generators, methods,
       Point.__init__, Point.moved, Account.__init__, Account.deposit, Derived.value)
