"""`/health`, `/livez`, `/readyz`, `/metrics`: the node itself."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio
from prometheus_client import CollectorRegistry
from quart import Response, request

from interview_edge.access.principal import Scope, Via
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.errors import NOT_READY, EdgeError
from interview_edge.web import health
from interview_edge.web.context import WebContext
from interview_edge.web.door import principal_of
from interview_edge.web.messages import json_reply
from interview_edge.web.metrics import CONTENT_TYPE, render
from interview_edge.web.refusals import COMMON_HEADERS
from interview_edge.web.routes import NODE, Content, Route, Visitors
from interview_edge.web.schemas import ref

_JSON = "application/json"
_FOR_ANYBODY = ("status", "app", "version")  # of /health: the rest tells of load and faults


@attrs.frozen
class NodeResource:
    """The views."""

    context: WebContext
    metrics: CollectorRegistry

    def routes(self) -> list[Route]:
        public = self.context.parts.settings.public_metrics
        status: Mapping[int, Content] = {200: Content(_JSON, ref("Status"), "It is.")}
        return [
            Route(
                method="GET",
                path="/health",
                view=self.health,
                service=NODE,
                access=Visitors.ANYBODY,
                summary="How the node is; with a key also figures and checks; 200 also where they fail",
                answers={200: Content(_JSON, ref("Health"), "The node at this moment.")},
            ),
            Route(
                method="GET",
                path="/livez",
                view=self.live,
                service=NODE,
                access=Visitors.ANYBODY,
                summary="Whether the process answers",
                from_anywhere=True,
                answers=status,
            ),
            Route(
                method="GET",
                path="/readyz",
                view=self.ready,
                service=NODE,
                access=Visitors.ANYBODY,
                summary="Whether new sessions should come here",
                from_anywhere=True,
                answers=status,
                errors=(NOT_READY,),
            ),
            Route(
                method="GET",
                path="/metrics",
                view=self.show_metrics,
                service=NODE,
                access=Visitors.ANYBODY if public else (Scope.ADMIN,),
                summary="Metrics for Prometheus",
                answers={200: Content("text/plain", {"type": "string"}, "The text format.")},
            ),
        ]

    async def health(self) -> Response:
        settings, figures = self.context.parts.settings, await health.measure(self.context)
        services = health.judge_services(figures, settings, self.context.realtime.status)
        shown = health.show(figures, settings, self.context.version, services)
        if principal_of(request.scope).via is Via.NOTHING and not settings.public_metrics:
            shown = {name: shown[name] for name in _FOR_ANYBODY}
        return json_reply(shown)

    async def live(self) -> Response:
        return json_reply({"status": "ok"})

    async def ready(self) -> Response:
        failed = await self._failed_check()
        if failed is not None:
            raise EdgeError(
                NOT_READY, f"not ready: {failed}", fields={"status": "unavailable", "check": failed}
            )
        return json_reply({"status": "ok"})

    async def _failed_check(self) -> str | None:
        if self.context.registry.draining:
            return "draining"
        if not self.context.registry.running:
            return "starting"
        if self.context.parts.journal.stalled is not None:
            return "journal"
        with trio.move_on_after(health.CATALOG_TIMEOUT):
            try:
                await self.context.parts.catalog.list_sessions(limit=1)
            except CatalogUnavailable:
                return "catalog"
            return None
        return "catalog"

    async def show_metrics(self) -> Response:
        return Response(render(self.metrics), headers={"content-type": CONTENT_TYPE} | COMMON_HEADERS)
