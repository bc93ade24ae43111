"""What is enabled: `/api/v1/settings`."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cnnf.console.api.auth import Operator, Use, Viewer
from cnnf.console.api.errors import documented
from cnnf.console.api.services import now_ms
from cnnf.console.store import settings as store
from cnnf.console.store.settings import StoredSettings
from cnnf.protocol.messages import Settings as Message

router = APIRouter(prefix="/settings", tags=["settings"])


class Settings(BaseModel):
    """Whether Defenders judge connections of containers and of hosts; disabled they only observe.

    `version` is the one that was read; a change made meanwhile by somebody else is not undone.
    """

    model_config = ConfigDict(extra="forbid")
    containers: bool
    hosts: bool
    version: int = Field(ge=1, lt=2**53)


def message(stored: StoredSettings) -> Message:
    """The settings as Defenders get them."""
    return Message(generation=stored.version, containers=stored.containers, hosts=stored.hosts)


def _form(stored: StoredSettings) -> Settings:
    return Settings(containers=stored.containers, hosts=stored.hosts, version=stored.version)


@router.get("", summary="What is enabled")
async def read_settings(_: Viewer, use: Use) -> Settings:
    """The settings in force."""
    return _form(await use.database.read(store.load))


@router.put("", summary="Enable or disable", responses=documented(409))
async def change_settings(body: Settings, account: Operator, use: Use) -> Settings:
    """Replace the settings; every Defender is told at once, and the change is audited."""
    stored = await use.database.write(
        lambda c: store.store(
            c,
            version=body.version,
            containers=body.containers,
            hosts=body.hosts,
            actor=account.user,
            now=now_ms(),
        )
    )
    use.settings.publish(message(stored))
    use.radar.touch()
    return _form(stored)
