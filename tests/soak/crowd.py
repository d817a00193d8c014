"""The load: clerks that work without end, and compare every answer."""
import http.client
import json
import threading

import releases
import visits

# After so many turns a clerk's list of recent actions, of ten, is always the same.
SETTLING = 2
# Then turns are repeated: so many different ones.
TURNS = 4
# One request in so many asks what the module that is being edited says.
RELEASE_EVERY = 10
# Wrong answers after which a clerk gives up: what comes after one may be its consequence.
ENOUGH = 5


class Tally:
    """What all clerks have found, and how many requests each worker has served."""

    def __init__(self):
        self._turn = threading.Lock()
        self.requests = 0
        self.wrong = []
        self.served = {}
        # Of the answers that tell a release: how many there are, and those whose module came from a package.
        self.releases = 0
        self.from_packages = 0

    def answered(self, worker, number):
        with self._turn:
            self.requests += 1
            # Not the largest: the number of an ended process is used again.
            self.served[worker] = number

    def released(self, loader):
        with self._turn:
            self.releases += 1
            self.from_packages += loader.startswith("pye.")


class Clerk(visits.Clerk):
    """One that also asks for the release, and remembers what served it."""

    def __init__(self, number, port, tally, released):
        super().__init__(number, port)
        self._tally = tally
        self._released = released
        self._requests = 0

    def _remember(self, headers):
        super()._remember(headers)
        worker, served = map(int, headers["X-Soak"].split())
        self._tally.answered(worker, served)
        self._requests += 1
        if self._requests % RELEASE_EVERY == 0:
            self._ask_for_release()

    def read_messages(self):
        """Has the admin say what it still has to say of what was done before, on whatever page comes next."""
        self._ask("GET", "/admin/")

    def _ask_for_release(self):
        oldest = self._released.oldest
        answer = json.loads(self._ask("GET", "/soak/release", accept="application/json")[2])
        wrong = releases.difference(answer, oldest, self._released.newest)
        if wrong:
            self._tally.wrong.append("clerk %d: %s" % (self.number, wrong))
        self._tally.released(answer["loader"])


class Crowd:
    """So many clerks at one server. `expected` has for each clerk and turn the answers; what is not in it yet is put there."""

    def __init__(self, number, server, released, expected):
        self.tally = Tally()
        self._expected = expected
        self._stop = threading.Event()
        self._clerks = [Clerk(one, server.port, self.tally, released) for one in range(number)]
        self._threads = []

    def settle(self):
        """What comes before the clock runs: until the answers to each turn are the same whenever it comes; and each turn whose answers
        are not known yet, once."""
        self._all(self._settle)
        if self.tally.wrong:
            raise visits.UnexpectedAnswer(self.tally.wrong[0])

    def begin(self):
        """All clerks at work, and counted from now on."""
        self.tally.requests = self.tally.releases = self.tally.from_packages = 0
        self._threads = [threading.Thread(target=self._work, args=(clerk,), daemon=True) for clerk in self._clerks]
        for thread in self._threads:
            thread.start()

    def end(self):
        """Has every clerk end its turn."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def works(self):
        """Whether all clerks are still at it."""
        return all(thread.is_alive() for thread in self._threads)

    def _all(self, what):
        threads = [threading.Thread(target=self._guarded, args=(what, clerk), daemon=True) for clerk in self._clerks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _guarded(self, what, clerk):
        """Does `what`; whether it came to its end. What goes wrong is a wrong answer."""
        try:
            what(clerk)
            return True
        except (visits.UnexpectedAnswer, OSError, http.client.HTTPException, ValueError, TypeError, AttributeError) as error:
            self.tally.wrong.append("clerk %d: %s: %s" % (clerk.number, type(error).__name__, error))
            return False

    def _settle(self, clerk):
        clerk.log_in()
        for turn in range(SETTLING):
            clerk.work(turn)
        for turn in range(TURNS):
            if (clerk.number, turn) not in self._expected:
                self._one_turn(clerk, turn)

    def _work(self, clerk):
        turn, failures = 0, 0
        while not self._stop.is_set() and failures < ENOUGH:
            failures += not self._guarded(lambda clerk: self._one_turn(clerk, turn % TURNS), clerk)
            turn += 1

    def _one_turn(self, clerk, turn):
        clerk.read_messages()
        clerk.answers.clear()
        # Turns before the repeated ones have other numbers.
        clerk.work(SETTLING + turn)
        answers = list(clerk.answers)
        expected = self._expected.setdefault((clerk.number, turn), answers)
        if len(answers) != len(expected):
            raise ValueError("%d answers to turn %d, expected %d" % (len(answers), turn, len(expected)))
        self.tally.wrong += ["clerk %d, turn %d: %s; first under stock: %s" % (clerk.number, turn, one, other)
                             for one, other in zip(answers, expected) if one != other]
