"""The web pages: files of the built application, and its entry for every path it routes itself."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.convertors import Convertor, register_url_convertor

from cnnf.console.api.errors import error_response

PAGES = Path(__file__).parent.parent / "pages"
_NOT_BUILT = "The pages are not built yet: run `make run` (or `make web`) in the source tree.\n"
_FILES = frozenset(
    {".css", ".html", ".ico", ".js", ".json", ".map", ".png", ".svg", ".txt", ".woff2"}
)


class _PagePath(Convertor[str]):
    """Every path but those of the two interfaces: what is not there is missing, not a page."""

    regex = "(?!(?:api|defender)(?:/|$)).*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("page", _PagePath())
router = APIRouter(include_in_schema=False)


@router.get("/healthz", include_in_schema=True, tags=["health"], summary="Is the Console up?")
async def health() -> dict[str, str]:
    """For monitors and load balancers; needs no account."""
    return {"status": "ok"}


@router.get("/{path:page}")
async def page(path: str, request: Request) -> Response:
    """A file of the pages, or their entry for the paths that they route themselves."""
    entry = PAGES / "index.html"
    if not entry.is_file():
        return PlainTextResponse(_NOT_BUILT, status_code=503)
    wanted = _file(path)
    if wanted is not None:
        # What the build names by its content never changes; everything else is asked for again.
        hashed = path.startswith("assets/")
        cache = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return FileResponse(wanted, headers={"Cache-Control": cache})
    # The address of a client route may hold dots (a peer's address), so only what looks like a
    # file of the build is missed.
    if path.startswith("assets/") or Path(path).suffix in _FILES:
        return error_response(404, f"there is no {request.url.path:.200}")
    return FileResponse(entry, headers={"Cache-Control": "no-cache"})


def _file(path: str) -> Path | None:
    """The file of this path inside the pages; None when there is none, or it lies outside."""
    if not path or "\0" in path or len(path) > 512:
        return None
    candidate = (PAGES / path).resolve()
    if not candidate.is_relative_to(PAGES.resolve()) or not candidate.is_file():
        return None
    return candidate
