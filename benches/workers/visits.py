"""A clerk of the library at work: requests over the loopback interface, and their answers in a form that can be compared.

Clerk i and clerk j ask for other things in another order; the same clerk does the same in every run.
"""
import hashlib
import http.client
import random
import re
import urllib.parse

# What differs between two answers to one request, whatever serves: tokens against forged requests are drawn at random for
# each page. They are replaced before answers are compared; nothing else is. The first is the form field, the second what
# the browsable API hands to its script.
TOKENS = [
    (re.compile(rb'(name="csrfmiddlewaretoken" value=")[^"]*'), rb"\1TOKEN"),
    (re.compile(rb'("csrfToken": ")[^"]*'), rb"\1TOKEN"),
]
AUTHORS = ["Adler", "Brandt", "Castro", "Dufour", "Eriksen", "Farkas", "Greco", "Horvat"]


class UnexpectedAnswer(Exception):
    """The service did not answer as it must."""


class Clerk:
    """One client with its cookies, at `(host, port)`. The answers of `work` are appended to `answers`."""

    def __init__(self, number, port):
        self.number = number
        self.port = port
        self.cookies = {}
        self.answers = []

    def log_in(self):
        """Through the form of the admin. Its answers are not kept: the cookies are drawn at random."""
        self._ask("GET", "/admin/login/")
        form = {"username": "clerk%d" % self.number, "password": "password%d" % self.number, "next": "/admin/"}
        self._ask("POST", "/admin/login/?next=/admin/", form=form, expected=302)

    def work(self, turn=0):
        """All of this clerk's requests once, in an order that depends on clerk and turn; what it adds, it removes.

        Returns the number of requests.
        """
        before = len(self.answers)
        random_ = random.Random(100 * self.number + turn)
        errands = [self._look, self._search, self._add_in_admin, self._add_by_api, self._order, self._report, self._page]
        for _ in range(3):
            random_.shuffle(errands)
            for errand in errands:
                errand(random_)
        return len(self.answers) - before

    # Errands.

    def _look(self, random_):
        self._keep("GET", "/admin/")
        self._keep("GET", "/admin/library/book/?author__id__exact=%d" % random_.randrange(1, 13))
        self._keep("GET", "/admin/library/book/%s/change/" % self._slug(random_))
        self._keep("GET", "/admin/auth/user/?q=clerk%d" % random_.randrange(16))

    def _search(self, random_):
        word = random_.choice(["river", "stone", "winter", "garden", "letter"])
        self._keep("GET", "/admin/library/book/?q=%s&o=3" % word)
        self._keep("GET", "/api/books/?title=%s" % word, accept="application/json")

    def _page(self, random_):
        self._keep("GET", "/api/books/?page=%d" % random_.randrange(1, 4), accept="application/json")
        self._keep("GET", "/api/books/%s/" % self._slug(random_), accept="application/json")
        self._keep("GET", "/api/books/%s/" % self._slug(random_), accept="text/html")

    def _add_in_admin(self, random_):
        slug = "new-c%d" % self.number
        self._keep("GET", "/admin/library/book/add/")
        form = {"slug": slug, "title": "Added", "author": random_.randrange(1, 13), "published": "2001-02-03",
                "pages": random_.randrange(100, 200)}
        self._keep("POST", "/admin/library/book/add/", form=form, expected=302)
        self._keep("GET", "/admin/library/book/?q=Added")
        self._keep("POST", "/admin/library/book/%s/delete/" % slug, form={"post": "yes"}, expected=302)

    def _add_by_api(self, random_):
        slug = "sent-c%d" % self.number
        book = {"slug": slug, "title": "Sent", "author": random_.choice(AUTHORS), "published": "1999-12-31",
                "pages": random_.randrange(100, 200)}
        self._keep("POST", "/api/books/", form=book, accept="application/json", expected=201)
        self._keep("POST", "/api/books/", form=book, accept="application/json", expected=400)
        self._keep("DELETE", "/api/books/%s/" % slug, accept="application/json", expected=204)

    def _order(self, random_):
        form = {"copies": random_.randrange(1, 9)}
        self._keep("POST", "/api/books/%s/order/" % self._slug(random_), form=form, accept="application/json")

    def _report(self, random_):
        self._keep("GET", "/report/")

    def _slug(self, random_):
        return "c%d-%d" % (self.number, random_.randrange(60))

    # One request.

    def _keep(self, method, path, **options):
        status, kind, body = self._ask(method, path, **options)
        for pattern, replacement in TOKENS:
            body = pattern.sub(replacement, body)
        self.answers.append("%s %s %d %s %s" % (method, path, status, kind, hashlib.sha256(body).hexdigest()))

    def _ask(self, method, path, form=None, accept="text/html", expected=200):
        # A name instead of address and port: the service writes it into links.
        headers = {"Host": "library.example", "Accept": accept, "Cookie": "; ".join("%s=%s" % pair for pair in self.cookies.items())}
        body = None
        if method != "GET":
            headers["X-CSRFToken"] = self.cookies.get("csrftoken", "")
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        self._remember(answer.headers)
        if answer.status != expected:
            raise UnexpectedAnswer("%s %s: status %d, expected %d: %s" % (method, path, answer.status, expected, body[:300]))
        return answer.status, answer.headers.get("Content-Type", ""), body

    def _remember(self, headers):
        """What each answer tells beside its body: the cookies."""
        for cookie in headers.get_all("Set-Cookie", []):
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
