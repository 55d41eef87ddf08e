"""`GET /v1/usage`: what was used, by day and key, and what is left of today's quotas (contract gateway.md,
Usage).
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio
from quart import Response, request

from interview_edge.access.principal import Principal, Scope, Via
from interview_edge.access.quotas import QuotaUse
from interview_edge.catalog.access import UsageKind, UsageRow
from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.core.times import iso_from_ms, next_utc_day_ms, utc_day
from interview_edge.errors import (
    CATALOG_UNAVAILABLE,
    INSUFFICIENT_SCOPE,
    INVALID_QUERY,
    STORAGE_UNAVAILABLE,
    EdgeError,
)
from interview_edge.web.audit import about_request
from interview_edge.web.context import WebContext
from interview_edge.web.door import principal_of
from interview_edge.web.messages import json_reply
from interview_edge.web.routes import Content, Parameter, Route, Visitors
from interview_edge.web.schemas import TEXT, ref

MAX_DAYS = 366
MAX_ROWS = 10_000  # some 2 MB of JSON

_DAY = {"type": "string", "format": "date"}


@attrs.frozen
class Span:
    """UTC days, both included."""

    first: datetime.date
    last: datetime.date


@attrs.frozen
class UsageResource:
    """The view."""

    context: WebContext

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/v1/usage",
                view=self.show,
                service="auth",
                access=Visitors.SIGNED_IN,
                summary="What was used, by day and key, and what is left of today's quotas",
                answers={200: Content("application/json", ref("Usage"), "Days without usage are left out.")},
                errors=(INVALID_QUERY, INSUFFICIENT_SCOPE, CATALOG_UNAVAILABLE, STORAGE_UNAVAILABLE),
                parameters=(
                    Parameter("from", _DAY, "the first UTC day; default: the first of the month of `to`"),
                    Parameter("to", _DAY, f"the last UTC day, default today; at most {MAX_DAYS} days"),
                    Parameter("owner", TEXT, "another user's, for scope admin; default: one's own"),
                    Parameter(
                        "all",
                        {"enum": ["true", "false"]},
                        "everybody's where no owner is named, for scope admin",
                    ),
                ),
            )
        ]

    async def show(self) -> Response:
        now = self.context.parts.wall_ms()
        span = parse_span(request.args, datetime.date.fromisoformat(utc_day(now)))
        user = _whose(principal_of(request.scope), request.args)
        records = self.context.access.records
        await self._note_admin(user)
        with trio.fail_after(self.context.parts.settings.storage_timeout):
            rows = await records.usage(str(span.first), str(span.last), owner=user, limit=MAX_ROWS + 1)
            today = await records.usage(utc_day(now), utc_day(now), owner=user) if user is not None else ()
        if len(rows) > MAX_ROWS:
            raise _invalid("from", f"gives over {MAX_ROWS} rows; ask for fewer days")
        totals: Counter[str] = Counter()
        for row in rows:
            totals.update(row.amounts)
        shown = {
            "from": str(span.first),
            "to": str(span.last),
            "user": user,
            "totals": show_amounts(totals),
            "days": [_show_row(row) for row in rows],
            "quotas": [] if user is None else self._quotas(user, today, now),
        }
        return json_reply(shown)

    async def _note_admin(self, user: str | None) -> None:
        """A look at somebody else's usage leaves an audit row."""
        asker = principal_of(request.scope)
        if user == asker.user or asker.via is Via.OPEN:
            return
        entry = about_request(
            request.scope,
            "admin.read",
            "done",
            at=self.context.parts.wall_ms(),
            principal=asker,
            target=user,
        )
        entry = attrs.evolve(entry, detail={"route": "GET /v1/usage"})
        with trio.fail_after(self.context.parts.settings.storage_timeout):
            await self.context.access.records.append_audit(entry)

    def _quotas(self, user: str, today: Sequence[UsageRow], now: int) -> list[dict[str, Any]]:
        """Of each valid key of the user; of the user alone where something counts without a key."""
        access = self.context.access
        used = {row.key_id: row.amounts for row in today}
        keys = {key.key_id for key in access.ring if key.owner == user and key.is_valid(now)}
        asker = principal_of(request.scope)
        if "" in used or (asker.user == user and asker.key_id is None):
            keys.add("")
        resets_at = iso_from_ms(next_utc_day_ms(now))
        return [
            _show_use(use) | {"resets_at": resets_at}
            for key_id in sorted(keys)
            for use in access.quotas.uses(key_id, used.get(key_id, {}))
        ]


def parse_span(args: Mapping[str, str], today: datetime.date) -> Span:
    """The days that a query asks for. Raises EdgeError(invalid_query) that names the field."""
    last = _parse_day(args, "to") or today
    first = _parse_day(args, "from") or last.replace(day=1)
    if first > last:
        raise _invalid("from", "must not be after to")
    if (last - first).days >= MAX_DAYS:
        raise _invalid("from", f"must be at most {MAX_DAYS} days before the end of to")
    return Span(first, last)


def _parse_day(args: Mapping[str, str], name: str) -> datetime.date | None:
    raw = args.get(name)
    if raw is None:
        return None
    try:
        # fromisoformat alone takes `20261122` and weeks.
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", raw):
            return datetime.date.fromisoformat(raw)
    except ValueError:
        pass  # a day that no month has, or year 0
    raise _invalid(name, "must be a day, as 2026-11-22")


def _whose(asker: Principal, args: Mapping[str, str]) -> str | None:
    """Whose usage is asked for, None for everybody's. Raises EdgeError: insufficient_scope, invalid_query."""
    everybody = args.get("all", "false")
    if everybody not in ("true", "false"):
        raise _invalid("all", "must be true or false")
    owner = args.get("owner", None if everybody == "true" else asker.user)
    if owner != asker.user and not asker.may(Scope.ADMIN):
        raise EdgeError(INSUFFICIENT_SCOPE, f"this needs the scope {Scope.ADMIN}")
    return owner


def _invalid(field: str, rule: str) -> EdgeError:
    return EdgeError(INVALID_QUERY, f"{field} {rule}", fields={"field": field})


# -- showing


def show_amounts(amounts: Mapping[str, int]) -> dict[str, Any]:
    """Everything that is counted, zeros too, audio in seconds."""
    return {shown_name(what): _shown(what, amounts.get(what, 0)) for what in UsageKind}


def shown_name(what: UsageKind) -> str:
    return "audio_seconds" if what is UsageKind.AUDIO_SAMPLES else what.value


def _shown(what: UsageKind, amount: int) -> float:
    return amount / SAMPLE_RATE if what is UsageKind.AUDIO_SAMPLES else amount


def _show_row(row: UsageRow) -> dict[str, Any]:
    return {"day": row.day, "user": row.owner, "key_id": row.key_id or None} | show_amounts(row.amounts)


def _show_use(use: QuotaUse) -> dict[str, Any]:
    return {
        "key_id": use.key_id or None,
        "what": shown_name(use.what),
        "used": _shown(use.what, use.used),
        "limit": _shown(use.what, use.limit),
    }
