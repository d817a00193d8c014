"""The WSGI application that gunicorn serves."""
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = get_wsgi_application()
# The views, and all that they import, before the first request: a worker is ready when it says so, and a preloading parent has
# them for all.
get_resolver().url_patterns
