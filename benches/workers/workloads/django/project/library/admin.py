"""The admin: everybody sees the own shelf."""
from django.contrib import admin

from .models import Author, Book


@admin.register(Author)
class AuthorAdmin(admin.ModelAdmin):
    search_fields = ["name"]


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ["title", "author", "published", "pages"]
    list_filter = ["author"]
    search_fields = ["title", "author__name"]
    date_hierarchy = "published"
    fields = ["slug", "title", "author", "published", "pages"]

    def get_queryset(self, request):
        return super().get_queryset(request).filter(owner=request.user)

    def save_model(self, request, obj, form, change):
        obj.owner = request.user
        super().save_model(request, obj, form, change)
