"""The keys of the catalog, held in memory: a request costs no query, and a revocation reaches every node.

The catalog is read at the start and every `interval` seconds from then on, so that what another process made
or revoked (the CLI, another node) counts within that time; what this node does counts at once.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping

import structlog
import trio

from interview_edge.access.api_keys import PresentedKey, digest
from interview_edge.catalog.access import AccessRecords, KeyRecord
from interview_edge.catalog.protocol import CatalogUnavailable

log = structlog.get_logger(__name__)

_NOBODY = bytes(32)  # compared with where the id is unknown, so that both answers take as long


class KeyRing:
    """One node's keys. `run` keeps them fresh; `load` must have returned once before the first `find`."""

    def __init__(self, records: AccessRecords, *, interval: float, now_ms: Callable[[], int]) -> None:
        self._records = records
        self._interval = interval
        self._now_ms = now_ms
        self._keys: Mapping[str, KeyRecord] = {}
        self._used: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []

    @property
    def empty(self) -> bool:
        """Whether no key was ever made. A revoked one counts: who locked a door doesn't want it open."""
        return not self._keys

    def find(self, presented: PresentedKey) -> KeyRecord | None:
        """The valid key that this is, compared in constant time; None for any other."""
        known = self._keys.get(presented.key_id)
        matches = hmac.compare_digest(_NOBODY if known is None else known.digest, digest(presented.secret))
        now = self._now_ms()
        if known is None or not matches or not known.is_valid(now):
            return None
        self._used[known.key_id] = now
        return known

    def __iter__(self) -> Iterator[KeyRecord]:
        """Every key, valid or not."""
        return iter(self._keys.values())

    def get(self, key_id: str) -> KeyRecord | None:
        """The key of this id, valid or not."""
        return self._keys.get(key_id)

    def is_valid(self, key_id: str) -> bool:
        """Whether the key exists, neither revoked nor expired."""
        known = self._keys.get(key_id)
        return known is not None and known.is_valid(self._now_ms())

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener()` after each look at the catalog, also one that failed: keys may have come, gone or
        expired.
        """
        self._listeners.append(listener)

    async def load(self) -> None:
        """Read the keys now. Raises CatalogUnavailable, the keys as they were."""
        self._keys = {key.key_id: key for key in await self._records.keys()}
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    async def run(self) -> None:
        """Keep the keys fresh, and write when they were last used, until cancelled."""
        while True:
            await trio.sleep(self._interval)
            try:
                await self.load()  # first: a catalog that takes no writes must not hide a revocation
                await self._note_uses()
            except CatalogUnavailable as error:
                log.warning("keys can't be read or their use noted now; those known stand", error=str(error))
                self._tell()  # they still expire

    async def _note_uses(self) -> None:
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._records.note_key_uses(used)
        except CatalogUnavailable:
            self._used = used | self._used
            raise
