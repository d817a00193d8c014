"""Django's backend for SQLite, with transactions that take the write lock when they begin.

A deferred transaction that reads and then writes fails at once when another one has written meanwhile, whatever the timeout; several
workers cannot be served so. Django 5.1 and newer can be told so by an option; this does it for all.
"""
from django.db.backends.sqlite3.base import DatabaseWrapper as Wrapper


class DatabaseWrapper(Wrapper):
    def _start_transaction_under_autocommit(self):
        self.cursor().execute("BEGIN IMMEDIATE")
