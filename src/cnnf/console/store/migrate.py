"""Bring the database to the form of `schema.py`; refuse one that is newer."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from cnnf.console.errors import CannotStart


def migrate(connection: Connection) -> None:
    """Run what is missing, on this connection, within its transaction.

    Raises CannotStart when a newer cnnf wrote the database.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    present = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise CannotStart(
            f"the database was written by a newer cnnf (revision {present})",
            hint="Run that version, or restore a backup from before the upgrade.",
        )
    command.upgrade(config, "head")
