"""The database's migrations, run by Alembic when the Console starts."""
