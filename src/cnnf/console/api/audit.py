"""Who changed what: `/api/v1/audit`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from cnnf.console import limits
from cnnf.console.api.auth import Admin, Use
from cnnf.console.core import windows
from cnnf.console.store import settings as store

router = APIRouter(prefix="/audit", tags=["audit"])


class AuditEntry(BaseModel):
    """One change."""

    id: int
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


@router.get("", summary="The audit log")
async def read_audit(
    _: Admin,
    use: Use,
    before: Annotated[int, Query(ge=0, lt=2**53, description="Older than this entry's id.")] = 0,
    count: Annotated[int, Query(ge=1, le=limits.AUDIT_PAGE_MAX)] = 100,
) -> list[AuditEntry]:
    """The newest entries first; `before` pages on."""
    entries = await use.database.read(lambda c: store.audit_page(c, before=before, count=count))
    return [
        AuditEntry(
            id=entry.id,
            at=windows.text(entry.at),
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            detail=entry.detail,
        )
        for entry in entries
    ]
