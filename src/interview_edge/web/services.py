"""The services of a node: which run here, how each stands, and `GET /v1/{service}/health` (contract
gateway.md, Health).
"""

from __future__ import annotations

from functools import partial

import attrs
from quart import Response

from interview_edge.core.times import iso_from_ms
from interview_edge.errors import SERVICE_UNAVAILABLE, EdgeError
from interview_edge.settings import Settings
from interview_edge.web import health
from interview_edge.web.context import WebContext
from interview_edge.web.messages import json_reply
from interview_edge.web.routes import NODE, Content, Route, Visitors
from interview_edge.web.schemas import ref

SERVICES = ("ingest", "auth", "realtime")


def check_service(route: Route, settings: Settings) -> None:
    """Raises EdgeError(service_unavailable) for a route of a service that doesn't run here."""
    if route.service != NODE and route.service not in settings.services:
        raise EdgeError(SERVICE_UNAVAILABLE, f"{route.service.capitalize()} service unavailable")


@attrs.frozen
class ServiceHealth:
    """The views."""

    context: WebContext

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path=f"/v1/{name}/health",
                view=partial(self.show, name),
                access=Visitors.ANYBODY,
                service=name,
                summary=f"How the {name} service is",
                answers={200: Content("application/json", ref("ServiceHealth"), "At this moment.")},
            )
            for name in SERVICES
        ]

    async def show(self, name: str) -> Response:
        figures, settings = await health.measure(self.context), self.context.parts.settings
        status = health.judge_services(figures, settings, self.context.realtime.status)[name]
        now = iso_from_ms(self.context.parts.wall_ms())
        return json_reply({"service": name, "status": status, "timestamp": now})
