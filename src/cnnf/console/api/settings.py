"""What is enabled: `/api/v1/settings`."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cnnf.console.api.auth import Operator, Use, Viewer
from cnnf.console.api.errors import documented
from cnnf.console.api.services import now_ms
from cnnf.console.store import settings as store
from cnnf.console.store.settings import StoredSettings
from cnnf.protocol.messages import RefuseWith
from cnnf.protocol.messages import Settings as Message

router = APIRouter(prefix="/settings", tags=["settings"])


class Settings(BaseModel):
    """Whether Defenders judge connections of containers and of hosts (disabled they only observe),
    whether they judge UDP too, what a prevented client gets (`reset`: refused at once, `drop`: no
    answer), and whether living connections are cut that a change of the rules prevents."""

    containers: bool
    hosts: bool
    udp: bool
    refuse_with: RefuseWith
    cut: bool
    version: int = Field(ge=1, lt=2**53)


class SettingsChange(BaseModel):
    """`version` is the one that was read; a change made meanwhile by somebody else is not undone.
    What is left out, or null, stays as it is."""

    model_config = ConfigDict(extra="forbid")
    containers: bool
    hosts: bool
    udp: bool | None = None
    refuse_with: RefuseWith | None = None
    cut: bool | None = None
    version: int = Field(ge=1, lt=2**53)


def message(stored: StoredSettings) -> Message:
    """The settings as Defenders get them."""
    return Message(
        generation=stored.version,
        containers=stored.containers,
        hosts=stored.hosts,
        udp=stored.udp,
        refuse_with=stored.refuse_with,
        cut=stored.cut,
    )


def _form(stored: StoredSettings) -> Settings:
    return Settings(
        containers=stored.containers,
        hosts=stored.hosts,
        udp=stored.udp,
        refuse_with=stored.refuse_with,
        cut=stored.cut,
        version=stored.version,
    )


@router.get("", summary="What is enabled")
async def read_settings(_: Viewer, use: Use) -> Settings:
    """The settings in force."""
    return _form(await use.database.read(store.load))


@router.put("", summary="Enable or disable", responses=documented(409))
async def change_settings(body: SettingsChange, account: Operator, use: Use) -> Settings:
    """Replace the settings; every Defender is told at once, and the change is audited."""
    changes = body.model_dump(exclude={"version"}, exclude_none=True)
    stored = await use.database.write(
        lambda c: store.store(
            c, version=body.version, changes=changes, actor=account.user, now=now_ms()
        )
    )
    use.settings.publish(message(stored))
    use.radar.touch()
    return _form(stored)
