"""The application's place in the project."""
from django.apps import AppConfig


class LibraryConfig(AppConfig):
    name = "project.library"
    verbose_name = "Library"
