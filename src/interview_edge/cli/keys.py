"""`interview-edge keys`: the first key, and every other, without a server: straight on the catalog.

A running server reads the catalog every `key_poll_interval` seconds, so what is done here counts there, too.
"""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from interview_edge.access.key_admin import MAX_DAYS, NewKey, create_key, revoke_key, show_key
from interview_edge.access.principal import Scope
from interview_edge.catalog import catalog_file, open_catalog
from interview_edge.catalog.access import AccessRecords, AuditEntry, KeyRecord, UsageKind
from interview_edge.core.times import iso_from_ms
from interview_edge.errors import EdgeError
from interview_edge.settings import Settings, SettingsError

Say = Callable[[str], None]


def parse_new_key(
    name: str, owner: str, scopes: str, expires_days: float | None, quotas: Sequence[str]
) -> NewKey:
    """The arguments as what is asked for. Raises ValueError that names the flag and what it takes."""
    known = [scope.value for scope in Scope]
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    if not wanted or any(scope not in known for scope in wanted):
        raise ValueError(f"--scopes must be some of {', '.join(known)}, commas between")
    if not name or not owner:
        raise ValueError("--name and --owner must not be empty")
    if expires_days is not None and not 0 < expires_days <= MAX_DAYS:
        raise ValueError(f"--expires-days must be over 0, at most {MAX_DAYS}")
    amounts: dict[str, int] = {}
    for quota in quotas:
        what, _, amount = quota.partition("=")
        if what not in set(UsageKind) or not amount.isdecimal():
            raise ValueError(f"--quota must be WHAT=AMOUNT, WHAT one of {', '.join(UsageKind)}")
        amounts[what] = int(amount)
    return NewKey(name, owner, frozenset(Scope(scope) for scope in wanted), expires_days, amounts)


async def create(settings: Settings, wanted: NewKey, say: Say, warn: Say) -> int:
    """Make a key; its text alone goes to `say`, so that a script can keep it. Answers the exit status."""
    file = catalog_file(settings.catalog_url)
    is_new = not file.exists()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with open_catalog(settings.catalog_url) as catalog:
        text, record = await create_key(catalog.access, wanted, _entry("key.create"), _now())
    say(text)
    if is_new:
        warn(f"there was no catalog yet: made {file}")
    warn(f"key {record.key_id} of {record.owner}, shown this once; a running server takes it within seconds")
    return 0


async def revoke(settings: Settings, key_id: str, say: Say, warn: Say) -> int:
    """Revoke a key, given by its id or its whole text; answers the exit status."""
    key_id = key_id.split("_")[1] if key_id.startswith("ie_") else key_id
    async with _records(settings) as records:
        try:
            record = await revoke_key(records, key_id, _entry("key.revoke"), _now())
        except EdgeError as error:
            warn(f"{key_id}: {error.detail}")
            return 1
    say(f"key {record.key_id} ({record.name}) is revoked")
    return 0


async def list_keys(settings: Settings, as_json: bool, say: Say, console: Console) -> int:
    """Show every key, revoked ones too; answers the exit status."""
    async with _records(settings) as records:
        keys = await records.keys()
    if as_json:
        for key in keys:
            say(json.dumps(show_key(key) | {"state": _state(key)}))
    else:
        console.print(_table(keys))
    return 0


@asynccontextmanager
async def _records(settings: Settings) -> AsyncIterator[AccessRecords]:
    """Those of the catalog that is there. Raises SettingsError where none is: a mistyped folder is made by
    nobody who only looks.
    """
    file = catalog_file(settings.catalog_url)
    if not file.exists():
        raise SettingsError(f"there is no catalog {file}: see data_dir (EDGE_DATA_DIR) and catalog")
    async with open_catalog(settings.catalog_url) as catalog:
        yield catalog.access


def _table(keys: Sequence[KeyRecord]) -> Table:
    table = Table(title="API keys")
    for column in ("id", "name", "owner", "scopes", "state", "last used"):
        table.add_column(column, overflow="fold")
    for key in keys:
        scopes, used = " ".join(sorted(key.scopes)), _time(key.last_used_at)
        table.add_row(key.key_id, escape(key.name), escape(key.owner), scopes, _state(key), used)
    return table


def _state(key: KeyRecord) -> str:
    if key.revoked_at is not None:
        return f"revoked {_time(key.revoked_at)}"
    if not key.is_valid(_now()):
        return f"expired {_time(key.expires_at)}"
    return "valid" if key.expires_at is None else f"valid to {_time(key.expires_at)}"


def _time(at: int | None) -> str:
    return "" if at is None else iso_from_ms(at)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _entry(action: str) -> AuditEntry:
    """Who works on the files of a node is its operator: the audit row names the account of this machine."""
    try:
        account = getpass.getuser()
    except (OSError, KeyError):  # an id without a name, as in a container
        account = "unknown"
    return AuditEntry(
        at=_now(), action=action, outcome="done", address="command line", detail={"account": account}
    )
