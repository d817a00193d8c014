"""What the library keeps."""
from django.conf import settings
from django.db import models


class Author(models.Model):
    """Who wrote a book."""

    name = models.CharField(max_length=80, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name


class Book(models.Model):
    """A book on somebody's shelf. The caller names its slug, so that an answer holds no number given out by the order of requests."""

    slug = models.SlugField(primary_key=True)
    title = models.CharField(max_length=120, help_text="As on the title page.")
    author = models.ForeignKey(Author, on_delete=models.PROTECT, related_name="books")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="books")
    published = models.DateField()
    pages = models.PositiveIntegerField()

    class Meta:
        ordering = ["slug"]

    def __str__(self):
        return self.title
