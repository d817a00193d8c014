"""A lending library: the Django project that the benchmark and the demo serve. As Celery's guide has it, the Celery application is
made with the project."""
from .celery import application as celery_application

__all__ = ["celery_application"]
