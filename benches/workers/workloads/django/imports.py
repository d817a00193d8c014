"""The imports of the workload, for timing them: nothing else runs here."""
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django

django.setup()

import celery
import django.contrib.admin
import django.contrib.auth
import requests
import rest_framework
import sqlalchemy
