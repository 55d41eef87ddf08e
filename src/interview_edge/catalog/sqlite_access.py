"""AccessRecords on SQLite: in the catalog's own file, so that usage is counted in the transaction of what it
counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw
import attrs

from interview_edge.catalog.access import (
    AuditEntry,
    Grant,
    GrantKind,
    KeyRecord,
    Reservation,
    UsageKind,
    UsageRow,
)
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.catalog.records import from_json, to_json

T = TypeVar("T")

_KEY_COLUMNS = "key_id, digest, name, owner, scopes, quotas, created_at, expires_at, revoked_at, last_used_at"
_AUDIT_COLUMNS = "number, at, owner, key_id, action, target, address, request_id, outcome, detail"


class RunWork(Protocol):
    """How the catalog runs one transaction, or one read."""

    def __call__(self, work: Callable[[apsw.Connection], T]) -> Awaitable[T]: ...


class SqliteAccess:
    """`AccessRecords` over the catalog's two connections."""

    def __init__(self, write: RunWork, read: RunWork) -> None:
        self._write = write
        self._read = read

    async def add_key(self, key: KeyRecord, audit: AuditEntry) -> None:
        await self._write(partial(_add_key, key=key, audit=audit))

    async def keys(self) -> Sequence[KeyRecord]:
        return await self._read(_keys)

    async def revoke_key(self, key_id: str, at: int, audit: AuditEntry) -> KeyRecord | None:
        return await self._write(partial(_revoke_key, key_id=key_id, at=at, audit=audit))

    async def note_key_uses(self, used: Mapping[str, int]) -> None:
        await self._write(partial(_note_key_uses, used=dict(used)))

    async def add_grant(self, grant: Grant) -> None:
        await self._write(partial(_add_grant, grant=grant))

    async def take_grant(self, kind: GrantKind, digest: bytes) -> Grant | None:
        return await self._write(partial(_take_grant, kind=kind, digest=digest))

    async def grant(self, kind: GrantKind, digest: bytes) -> Grant | None:
        return await self._read(partial(_grant, kind=kind, digest=digest))

    async def append_audit(self, entry: AuditEntry) -> None:
        await self._write(partial(_append_audit, entry=entry))

    async def audit(
        self, *, after: int = 0, limit: int = 100, owner: str | None = None, action: str | None = None
    ) -> Sequence[tuple[int, AuditEntry]]:
        return await self._read(partial(_audit, after=after, limit=limit, owner=owner, action=action))

    async def usage(
        self,
        first_day: str,
        last_day: str,
        *,
        owner: str | None = None,
        key_id: str | None = None,
        limit: int | None = None,
    ) -> Sequence[UsageRow]:
        return await self._read(
            partial(_usage, first_day=first_day, last_day=last_day, owner=owner, key_id=key_id, limit=limit)
        )

    async def usage_of_payer(self, session_id: str, day: str, *, owner: str, key_id: str) -> UsageRow:
        return await self._read(
            partial(_usage_of_payer, session_id=session_id, day=day, owner=owner, key_id=key_id)
        )

    async def reserve(self, reservation: Reservation, limit: int, now: int) -> bool:
        return await self._write(partial(_reserve, reservation=reservation, limit=limit, now=now))

    async def settle(self, reservation_id: str) -> None:
        await self._write(partial(_settle, reservation_id=reservation_id))

    async def cancel(self, reservation_id: str) -> None:
        await self._write(partial(_cancel, reservation_id=reservation_id))


# -- keys


def _add_key(connection: apsw.Connection, key: KeyRecord, audit: AuditEntry) -> None:
    connection.execute(
        f"INSERT INTO api_keys ({_KEY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # a constant
        (
            *(key.key_id, key.digest, key.name, key.owner, _joined(key.scopes), to_json(key.quotas)),
            *(key.created_at, key.expires_at, key.revoked_at, key.last_used_at),
        ),
    )
    _append_audit(connection, audit)


def file_holds_keys(path: Path) -> bool:
    """Whether a catalog's file has ever had a key; it need not be there, or of this version. Blocking.

    Raises CatalogUnavailable where it can't be read.
    """
    if not path.exists():
        return False
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            known: Any = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'api_keys'").fetchone()
            return known is not None and bool(connection.execute("SELECT 1 FROM api_keys LIMIT 1").fetchone())
    except apsw.Error as error:
        raise CatalogUnavailable(f"{path}: {type(error).__name__}: {error}") from error


def _keys(connection: apsw.Connection) -> list[KeyRecord]:
    found: Any = connection.execute(f"SELECT {_KEY_COLUMNS} FROM api_keys ORDER BY created_at, key_id")  # noqa: S608
    return [_key(*row) for row in found]


def _key(
    key_id: str,
    digest: bytes,
    name: str,
    owner: str,
    scopes: str,
    quotas: str,
    created_at: int,
    expires_at: int | None,
    revoked_at: int | None,
    last_used_at: int | None,
) -> KeyRecord:
    return KeyRecord(
        key_id=key_id,
        digest=digest,
        name=name,
        owner=owner,
        scopes=frozenset(scopes.split()),
        quotas=from_json(quotas),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
    )


def _revoke_key(connection: apsw.Connection, key_id: str, at: int, audit: AuditEntry) -> KeyRecord | None:
    connection.execute(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE key_id = ?", (at, key_id)
    )
    row: Any = connection.execute(
        f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE key_id = ?",  # noqa: S608  # a constant
        (key_id,),
    ).fetchone()
    if row is None:
        return None
    _append_audit(connection, audit)
    return _key(*row)


def _note_key_uses(connection: apsw.Connection, used: Mapping[str, int]) -> None:
    connection.executemany(
        "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE key_id = ?",
        [(at, key_id) for key_id, at in used.items()],
    )


def _joined(scopes: frozenset[str]) -> str:
    return " ".join(sorted(scopes))


# -- tickets and logins


def _add_grant(connection: apsw.Connection, grant: Grant) -> None:
    connection.execute("DELETE FROM grants WHERE expires_at < ?", (grant.created_at,))
    connection.execute(
        "INSERT INTO grants (kind, digest, owner, key_id, scopes, created_at, expires_at, until) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(grant.kind.value, grant.digest, grant.owner, grant.key_id, _joined(grant.scopes)),
            *(grant.created_at, grant.expires_at, grant.until),
        ),
    )


def _take_grant(connection: apsw.Connection, kind: GrantKind, digest: bytes) -> Grant | None:
    found = _grant(connection, kind, digest)
    connection.execute("DELETE FROM grants WHERE kind = ? AND digest = ?", (kind.value, digest))
    return found


def _grant(connection: apsw.Connection, kind: GrantKind, digest: bytes) -> Grant | None:
    row: Any = connection.execute(
        "SELECT owner, key_id, scopes, created_at, expires_at, until FROM grants "
        "WHERE kind = ? AND digest = ?",
        (kind.value, digest),
    ).fetchone()
    if row is None:
        return None
    owner, key_id, scopes, created_at, expires_at, until = row
    return Grant(
        kind=kind,
        digest=digest,
        owner=owner,
        key_id=key_id,
        scopes=frozenset(scopes.split()),
        created_at=created_at,
        expires_at=expires_at,
        until=until,
    )


# -- audit


def _append_audit(connection: apsw.Connection, entry: AuditEntry) -> None:
    connection.execute(
        f"INSERT INTO audit ({_AUDIT_COLUMNS}) "  # noqa: S608  # a constant
        "SELECT coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM audit",
        (
            *(entry.at, entry.owner, entry.key_id, entry.action, entry.target, entry.address),
            *(entry.request_id, entry.outcome, to_json(entry.detail)),
        ),
    )


def _audit(
    connection: apsw.Connection, after: int, limit: int, owner: str | None, action: str | None
) -> list[tuple[int, AuditEntry]]:
    found: Any = connection.execute(
        f"SELECT {_AUDIT_COLUMNS} FROM audit "  # noqa: S608  # a constant
        "WHERE number > ?1 AND (?2 IS NULL OR owner = ?2) AND (?3 IS NULL OR action = ?3) "
        "ORDER BY number LIMIT ?4",
        (after, owner, action, limit),
    )
    return [
        (
            number,
            AuditEntry(
                at=at,
                owner=who,
                key_id=key_id,
                action=what,
                target=target,
                address=address,
                request_id=request_id,
                outcome=outcome,
                detail=from_json(detail),
            ),
        )
        for number, at, who, key_id, what, target, address, request_id, outcome, detail in found
    ]


# -- usage


def add_usage(
    connection: apsw.Connection, day: str, owner: str, key_id: str, amounts: Mapping[str, int]
) -> None:
    """Count what was used, in the transaction of what it counts."""
    connection.executemany(
        "INSERT INTO usage (day, owner, key_id, what, amount) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (day, owner, key_id, what) DO UPDATE SET amount = usage.amount + excluded.amount",
        [(day, owner, key_id, what, amount) for what, amount in amounts.items() if amount],
    )


def _usage(
    connection: apsw.Connection,
    first_day: str,
    last_day: str,
    owner: str | None,
    key_id: str | None,
    limit: int | None,
) -> list[UsageRow]:
    # A row of ours is at most one of each kind; one row more, so that the last is never a part of one.
    most = -1 if limit is None else (limit + 1) * len(UsageKind)
    found: Any = connection.execute(
        "SELECT day, owner, key_id, what, amount FROM usage "
        "WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR owner = ?3) AND (?4 IS NULL OR key_id = ?4) "
        "ORDER BY day, owner, key_id, what LIMIT ?5",
        (first_day, last_day, owner, key_id, most),
    )
    rows: dict[tuple[str, str, str], dict[str, int]] = {}
    for day, who, by_key, what, amount in found:
        rows.setdefault((day, who, by_key), {})[what] = amount
    return [
        UsageRow(day=day, owner=who, key_id=by_key, amounts=amounts)
        for (day, who, by_key), amounts in islice(rows.items(), limit)
    ]


def _usage_of_payer(
    connection: apsw.Connection, session_id: str, day: str, owner: str, key_id: str
) -> UsageRow:
    payer: Any = connection.execute(
        "SELECT owner, coalesce(key_id, '') FROM sessions WHERE session_id = ?", (session_id,)
    ).fetchone()
    who, by_key = (owner, key_id) if payer is None else payer
    rows = _usage(connection, day, day, who, by_key, None)
    return rows[0] if rows else UsageRow(day=day, owner=who, key_id=by_key, amounts={})


def _reserve(connection: apsw.Connection, reservation: Reservation, limit: int, now: int) -> bool:
    connection.execute("DELETE FROM reservations WHERE expires_at < ?", (now,))
    about = (reservation.owner, reservation.day, reservation.what.value)
    used: Any = connection.execute(
        "SELECT coalesce(sum(amount), 0) FROM usage WHERE owner = ? AND day = ? AND what = ?", about
    ).get
    waiting: Any = connection.execute(
        "SELECT coalesce(sum(amount), 0) FROM reservations WHERE owner = ? AND day = ? AND what = ?", about
    ).get
    if used + waiting + reservation.amount > limit:
        return False
    connection.execute(
        "INSERT INTO reservations (reservation_id, day, owner, key_id, what, amount, expires_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        attrs.astuple(reservation),
    )
    return True


def _settle(connection: apsw.Connection, reservation_id: str) -> None:
    row: Any = connection.execute(
        "SELECT day, owner, key_id, what, amount FROM reservations WHERE reservation_id = ?",
        (reservation_id,),
    ).fetchone()
    if row is not None:
        day, owner, key_id, what, amount = row
        add_usage(connection, day, owner, key_id, {what: amount})
        _cancel(connection, reservation_id)


def _cancel(connection: apsw.Connection, reservation_id: str) -> None:
    connection.execute("DELETE FROM reservations WHERE reservation_id = ?", (reservation_id,))
