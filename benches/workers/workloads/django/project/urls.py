"""Addresses: the admin, the REST resource and the report."""
from django.contrib import admin
from django.urls import include, path
from rest_framework.routers import DefaultRouter

from .library import views

router = DefaultRouter()
router.register("books", views.BookViewSet, basename="book")

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(router.urls)),
    path("report/", views.report),
]
