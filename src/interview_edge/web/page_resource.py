"""Our pages: the recorder at `/audio-storage-test` (contract storage.md), the console that links everything,
and the modules, styles and texts under `/pages` that both are made of.

All of it lies in the folder `pages` of this package, and is read once: a path is a key of what was found
there, never a path of the file system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

import attrs
from quart import Response, request

from interview_edge.errors import PAGE_FILE_NOT_FOUND, EdgeError
from interview_edge.web.routes import NODE, Content, Route, Visitors

_MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json; charset=utf-8",
    "svg": "image/svg+xml",
}
# `connect-src 'self'` covers the audio socket: CSP 3 takes ws: of the same host for it. Blobs are audio that
# the page has put together itself, from raw PCM. An AudioWorklet's module falls under script-src.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_ABOUT_PAGES = {
    "content-security-policy": _POLICY,
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
}
# Kept by browsers, and asked for each time whether it is still so: names don't change with what is in them.
_CACHING = "no-cache"


@attrs.frozen
class PageFile:
    """One file as it is sent. `etag` follows from the bytes."""

    data: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, file: Traversable) -> PageFile:
        """Raises KeyError for a kind of file that no page has."""
        data = file.read_bytes()
        kind = file.name.rpartition(".")[2]
        return cls(data, _MEDIA_TYPES[kind], f'"{hashlib.sha256(data).hexdigest()[:32]}"')


def read_pages() -> Mapping[tuple[str, str], PageFile]:
    """Every file by its folder ("" at the top) and name."""
    top = files("interview_edge.web") / "pages"
    folders = [("", top), *((entry.name, entry) for entry in top.iterdir() if entry.is_dir())]
    return {
        (name, file.name): PageFile.read(file)
        for name, folder in folders
        for file in folder.iterdir()
        if file.is_file()
    }


@attrs.frozen
class PageResource:
    """The views."""

    pages: Mapping[tuple[str, str], PageFile] = attrs.field(factory=read_pages)

    def routes(self) -> list[Route]:
        page = Content("text/html", {"type": "string"}, "The page.")
        unchanged = Content("text/html", None, "Nothing has changed since `If-None-Match`.")
        return [
            Route(
                method="GET",
                path="/",
                view=self.root,
                access=Visitors.ANYBODY,
                service=NODE,
                summary="Leads to the console",
                answers={307: Content("text/html", None, "`Location` is the console, relative to this.")},
            ),
            Route(
                method="GET",
                path="/audio-storage-test",
                view=self.recorder,
                access=Visitors.ANYBODY,
                service=NODE,
                summary="A page that records, and shows what is stored",
                answers={200: page, 304: unchanged},
            ),
            Route(
                method="GET",
                path="/console",
                view=self.console,
                access=Visitors.ANYBODY,
                service=NODE,
                summary="A page that says how the node is and links the others",
                answers={200: page, 304: unchanged},
            ),
            Route(
                method="GET",
                path="/pages/<segment:folder>/<segment:name>",
                view=self.part,
                access=Visitors.ANYBODY,
                service=NODE,
                summary="What the pages are made of",
                answers={
                    200: Content(
                        "text/javascript",
                        {"type": "string"},
                        "A module, a style, a text or a picture.",
                        others={"text/css": {"type": "string"}, "application/json": {}, "image/svg+xml": {}},
                    ),
                    304: unchanged,
                },
                errors=(PAGE_FILE_NOT_FOUND,),
            ),
        ]

    async def root(self) -> Response:
        # Relative, so that it holds below whatever path a proxy or an application has put this.
        return Response(b"", 307, {"location": "console", "cache-control": _CACHING})

    async def recorder(self) -> Response:
        return _send(self.pages["", "recorder.html"])

    async def console(self) -> Response:
        return _send(self.pages["", "console.html"])

    async def part(self, folder: str, name: str) -> Response:
        found = self.pages.get((folder, name)) if folder else None
        if found is None:
            raise EdgeError(PAGE_FILE_NOT_FOUND)
        return _send(found)


def _send(page: PageFile) -> Response:
    headers = {"cache-control": _CACHING, "etag": page.etag, "content-type": page.media_type}
    if page.media_type == _MEDIA_TYPES["html"]:
        headers |= _ABOUT_PAGES
    if page.etag in [shown.strip().removeprefix("W/") for shown in _known_to_the_browser()]:
        return Response(b"", 304, headers)
    return Response(page.data, headers=headers)


def _known_to_the_browser() -> list[str]:
    return request.headers.get("if-none-match", "").split(",")
