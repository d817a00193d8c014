"""Makes the database that every server starts from a copy of: fill.py, with LIBRARY_DATABASE in the environment."""
import datetime
import os
import random

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django

django.setup()

from django.contrib.auth.models import Permission, User
from django.core.management import call_command

from project.library.models import Author, Book

CLERKS = 16
BOOKS_EACH = 60
WORDS = "river stone winter garden letter silver harbour journey shadow morning island forest mirror bridge lantern".split()
NAMES = "Adler Brandt Castro Dufour Eriksen Farkas Greco Horvat Ivanov Jansen Keller Lindgren".split()


def main():
    # Seeded: the same rows each time.
    random_ = random.Random(1)
    call_command("migrate", verbosity=0)
    authors = [Author.objects.create(name=name) for name in NAMES]
    permissions = Permission.objects.filter(codename__in=[
        *("%s_%s" % (verb, model) for verb in ("add", "change", "delete", "view") for model in ("book", "author")),
        "view_user", "view_group",
    ])
    for number in range(CLERKS):
        clerk = User.objects.create_user("clerk%d" % number, "clerk%d@library.example" % number, "password%d" % number, is_staff=True)
        clerk.user_permissions.set(permissions)
        for place in range(BOOKS_EACH):
            title = " ".join(random_.sample(WORDS, 3)).capitalize()
            Book.objects.create(
                slug="c%d-%d" % (number, place),
                title=title,
                author=random_.choice(authors),
                owner=clerk,
                published=datetime.date(1900, 1, 1) + datetime.timedelta(days=random_.randrange(45000)),
                pages=random_.randrange(60, 900),
            )


main()
