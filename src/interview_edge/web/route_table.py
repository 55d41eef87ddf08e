"""Every route of the node in one table, matched before anything runs: what the door asks of it, and how large
its body may be, come from the same row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, RequestRedirect, Rule

from interview_edge.errors import METHOD_NOT_ALLOWED, ROUTE_NOT_FOUND, EdgeError
from interview_edge.web.object_paths import KeyConverter
from interview_edge.web.paths import SegmentConverter
from interview_edge.web.routes import Route

SWITCHING_PROTOCOLS = 101


class Match(NamedTuple):
    """A route, and its path's parameters, decoded."""

    route: Route
    values: Mapping[str, Any]


class RouteTable:
    """The routes of one node."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._by_endpoint = {f"{route.method} {route.path}": route for route in routes}
        table = Map(
            [_rule(route, endpoint) for endpoint, route in self._by_endpoint.items()],
            converters={"segment": SegmentConverter, "key": KeyConverter},
            merge_slashes=False,
        )
        self._adapter = table.bind("")

    def match(self, path: str, method: str) -> Match:
        """The route of a path as `join_path` makes them.

        Raises EdgeError: route_not_found; method_not_allowed, whose field `allow` says what is.
        """
        try:
            endpoint, values = self._adapter.match(path, method)
        except MethodNotAllowed as error:
            allow = ", ".join(sorted(error.valid_methods or ()))
            raise EdgeError(METHOD_NOT_ALLOWED, headers={"allow": allow}) from error
        except (HTTPException, RequestRedirect) as error:
            raise EdgeError(ROUTE_NOT_FOUND) from error
        return Match(self._by_endpoint[endpoint], values)

    def methods(self, path: str) -> list[str]:
        """The methods that the path has, in order; none where it has no route."""
        return sorted(self._adapter.allowed_methods(path))


def _rule(route: Route, endpoint: str) -> Rule:
    rule = Rule(route.path, endpoint=endpoint, methods=[route.method])
    if SWITCHING_PROTOCOLS in route.answers and rule.methods is not None:
        rule.methods.discard("HEAD")  # werkzeug adds it to every GET, and an upgrade has none
    return rule
