"""The tables of the models, as `manage.py makemigrations` wrote them."""
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Author",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80, unique=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Book",
            fields=[
                ("slug", models.SlugField(primary_key=True, serialize=False)),
                ("title", models.CharField(help_text="As on the title page.", max_length=120)),
                ("published", models.DateField()),
                ("pages", models.PositiveIntegerField()),
                ("author", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="books", to="library.author")),
                ("owner", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="books", to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "ordering": ["slug"],
            },
        ),
    ]
