"""`/openapi.json`, `/asyncapi.json`, and `/docs`: a page of ours without scripts, and nothing from
elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

import attrs
import msgspec
from quart import Response

from interview_edge.web.asyncapi import make_asyncapi
from interview_edge.web.messages import json_reply
from interview_edge.web.refusals import COMMON_HEADERS
from interview_edge.web.routes import NODE, Content, Route, Visitors

_OBJECT = Content("application/json", {"type": "object"}, "The document.")
_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.5rem; } code, pre { font-family: ui-monospace, monospace; font-size: .9rem; }
details { border: 1px solid #ccc; border-radius: 6px; margin: .5rem 0; padding: .5rem 1rem; }
summary { cursor: pointer; } .method { display: inline-block; width: 5rem; font-weight: 700; }
table { border-collapse: collapse; width: 100%; } td, th { border-top: 1px solid #ddd; padding: .3rem .5rem;
text-align: left; vertical-align: top; } pre { background: #f5f5f5; overflow: auto; padding: .5rem; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #eee; }
details, td, th { border-color: #444; }
pre { background: #222; } a { color: #8bf; } }
"""


@attrs.define
class Documents:
    """The views. `openapi` is set once all routes are known, these included."""

    version: str
    openapi: Mapping[str, Any] = attrs.field(factory=dict)

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/openapi.json",
                view=self.show_openapi,
                access=Visitors.ANYBODY,
                service=NODE,
                summary="This API as OpenAPI 3.1",
                answers={200: _OBJECT},
            ),
            Route(
                method="GET",
                path="/asyncapi.json",
                view=self.show_asyncapi,
                access=Visitors.ANYBODY,
                service=NODE,
                summary="The sockets as AsyncAPI 3",
                answers={200: _OBJECT},
            ),
            Route(
                method="GET",
                path="/docs",
                view=self.show_page,
                access=Visitors.ANYBODY,
                service=NODE,
                summary="This API as a page to read",
                answers={200: Content("text/html", {"type": "string"}, "The page.")},
            ),
            Route(
                method="GET",
                path="/docs/style.css",
                view=self.show_style,
                access=Visitors.ANYBODY,
                service=NODE,
                summary="The page's style",
                answers={200: Content("text/css", {"type": "string"}, "The style sheet.")},
            ),
        ]

    async def show_openapi(self) -> Response:
        return json_reply(self.openapi)

    async def show_asyncapi(self) -> Response:
        return json_reply(make_asyncapi(self.version))

    async def show_page(self) -> Response:
        return _page(make_page(self.openapi), "text/html; charset=utf-8")

    async def show_style(self) -> Response:
        return _page(_STYLE, "text/css; charset=utf-8")


def _page(text: str, media_type: str) -> Response:
    return Response(text.encode(), headers=COMMON_HEADERS | {"content-type": media_type})


def make_page(openapi: Mapping[str, Any]) -> str:
    """The OpenAPI document as HTML."""
    info = openapi["info"]
    operations = [
        _show_operation(path, method, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"{_show_json(schema)}</details>"
        for name, schema in openapi["components"]["schemas"].items()
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/docs/style.css">'
        f"<title>{escape(info['title'])}</title></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{_prose(info['description'])}</p>"
        '<p><a href="/openapi.json">openapi.json</a> · <a href="/asyncapi.json">asyncapi.json</a></p>'
        f"<h2>Routes</h2>{''.join(operations)}<h2>Schemas</h2>{''.join(schemas)}</body></html>"
    )


def _show_operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parameters = [
        (f"{parameter['name']} ({parameter['in']})", parameter["description"] + _choices(parameter["schema"]))
        for parameter in operation["parameters"]
    ]
    answers = [(status, answer["description"]) for status, answer in operation["responses"].items()]
    body = operation.get("requestBody")
    shown_body = (
        ""
        if body is None
        else f"<h4>Body</h4><p>{_prose(body['description'])}</p>{_show_json(body['content'])}"
    )
    return (
        f'<details><summary><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code>'
        f" {_prose(operation['summary'])}</summary>{_show_table('Parameters', parameters)}{shown_body}"
        f"{_show_table('Answers', answers)}</details>"
    )


def _choices(schema: Mapping[str, Any]) -> str:
    values = schema.get("enum")
    if values is None:
        return ""
    default = f"; `{schema['default']}` where it isn't there" if "default" in schema else ""
    return f": {', '.join(f'`{value}`' for value in values)}{default}"


def _prose(text: str) -> str:
    """The document's text as HTML: of Markdown it has code only."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _show_table(title: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(f"<tr><th><code>{escape(a)}</code></th><td>{_prose(b)}</td></tr>" for a, b in rows)
    return f"<h4>{escape(title)}</h4><table>{lines}</table>"


def _show_json(data: Any) -> str:
    text = msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
    return f"<pre>{escape(text)}</pre>"
