"""Projects with migrations of which one fails half-way, outside of a transaction."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent


def write(directory: Path, files: dict[str, str]) -> None:
    """Write the files of a project."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


ALEMBIC = {
    "alembic.ini": """
        [alembic]
        script_location = %(here)s/migrations
        """,
    "migrations/env.py": """
        import os
        from alembic import context
        from sqlalchemy import create_engine

        url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
        with create_engine(url).connect() as connection:
            context.configure(connection=connection, transaction_per_migration=True)
            with context.begin_transaction():
                context.run_migrations()
        """,
    "migrations/versions/a_price.py": """
        import sqlalchemy as sa
        from alembic import op

        revision, down_revision = "a1", None

        def upgrade():
            op.add_column("item", sa.Column("price", sa.Integer))
        """,
    "migrations/versions/b_broken.py": """
        from alembic import op

        revision, down_revision = "b2", "a1"

        def upgrade():
            with op.get_context().autocommit_block():
                op.execute("UPDATE item SET price = 0")
                op.create_index("item_name", "item", ["name"], postgresql_concurrently=True)
                op.execute("DELETE FROM item WHERE id > 10")
                op.execute("SELECT 1 / 0")
        """,
}

DJANGO = {
    "manage.py": """
        import os, sys
        from django.core.management import execute_from_command_line

        os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
        execute_from_command_line(sys.argv)
        """,
    "settings.py": """
        import os
        from psycopg.conninfo import conninfo_to_dict

        _given = conninfo_to_dict(os.environ["DATABASE_URL"])
        INSTALLED_APPS = ["shop"]
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        SECRET_KEY = "for a test"
        DATABASES = {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": _given["dbname"],
                "USER": _given["user"],
                "PASSWORD": _given.get("password", ""),
                "HOST": _given["host"],
                "PORT": _given["port"],
            }
        }
        """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models

        class Item(models.Model):
            name = models.TextField(null=True)

            class Meta:
                db_table = "item"
        """,
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": """
        from django.db import migrations, models

        class Migration(migrations.Migration):
            initial = True
            operations = [
                migrations.CreateModel(
                    "Item",
                    [
                        ("id", models.BigAutoField(primary_key=True)),
                        ("name", models.TextField(null=True)),
                    ],
                    {"db_table": "item"},
                )
            ]
        """,
    "shop/migrations/0002_broken.py": """
        from django.contrib.postgres.operations import AddIndexConcurrently
        from django.db import migrations, models

        def spoil(apps, schema_editor):
            apps.get_model("shop", "Item").objects.filter(id__gt=10).delete()

        def fail(apps, schema_editor):
            raise RuntimeError("half-way")

        class Migration(migrations.Migration):
            atomic = False
            dependencies = [("shop", "0001_initial")]
            operations = [
                migrations.RunPython(spoil),
                AddIndexConcurrently("item", models.Index(fields=["name"], name="item_name")),
                migrations.RunPython(fail),
            ]
        """,
}
