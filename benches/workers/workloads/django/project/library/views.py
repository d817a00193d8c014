"""The REST resource, and a report made by SQLAlchemy from the same database."""
import functools

import sqlalchemy
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import JsonResponse
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from .models import Author, Book
from .serializers import BookSerializer
from .tasks import order


class BookViewSet(viewsets.ModelViewSet):
    """The books on the own shelf: list, add, read, change, remove; order more of one."""

    serializer_class = BookSerializer
    # DjangoModelPermissions asks the query set's model.
    queryset = Book.objects.select_related("author")

    def get_queryset(self):
        books = super().get_queryset().filter(owner=self.request.user)
        text = self.request.query_params.get("title")
        return books.filter(title__icontains=text) if text else books

    @action(detail=True, methods=["post"])
    def order(self, request, pk=None):
        book = self.get_object()
        result = order.delay(book.pk, int(request.data.get("copies", 1)))
        return Response(result.get())


@functools.lru_cache(maxsize=None)
def engine():
    """Made at the first request of each worker: connections must not pass a fork."""
    return sqlalchemy.create_engine("sqlite:///%s" % settings.DATABASES["default"]["NAME"])


@login_required
def report(request):
    """For each author: the books on the own shelf, and their pages."""
    metadata = sqlalchemy.MetaData()
    books = sqlalchemy.Table(Book._meta.db_table, metadata, *(sqlalchemy.Column(c) for c in ("author_id", "owner_id", "pages")))
    authors = sqlalchemy.Table(Author._meta.db_table, metadata, *(sqlalchemy.Column(c) for c in ("id", "name")))
    pages = sqlalchemy.func.sum(books.c.pages)
    query = (
        sqlalchemy.select(authors.c.name, sqlalchemy.func.count(), pages)
        .select_from(books.join(authors, books.c.author_id == authors.c.id))
        .where(books.c.owner_id == request.user.pk)
        .group_by(authors.c.name)
        .order_by(pages.desc(), authors.c.name)
    )
    with engine().connect() as connection:
        rows = [{"author": name, "books": number, "pages": total} for name, number, total in connection.execute(query)]
    return JsonResponse({"authors": rows})
