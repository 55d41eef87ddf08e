"""walk() over folders gives what sorting all keys by their UTF-8 bytes gives."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from interview_edge.backends.keys import folder_of, is_valid_key
from interview_edge.backends.walk import walk

# Around '/' (0x2f) on both sides, and where UTF-8 and UTF-16 order differ.
PARTS = st.text(alphabet="a-./0b\uffee\U0001f399", min_size=1, max_size=7)


@given(st.sets(PARTS.filter(is_valid_key), max_size=20), PARTS | st.just(""), PARTS | st.none())
def test_walk_sorts_as_the_bytes_of_whole_keys(keys: set[str], prefix: str, after: str | None) -> None:
    # No key is another's folder: no tree of folders holds both.
    keys = {key for key in keys if not any(other.startswith(key + "/") for other in keys)}

    def scan(folder: str) -> Iterator[str]:
        below = {key[len(folder) :] for key in keys if key.startswith(folder)}
        yield from {folder + name.partition("/")[0] + ("/" if "/" in name else "") for name in below}

    folder = folder_of(prefix)
    got = [] if folder is None else [key for run in walk(scan, folder, prefix, after) for key in run]
    expected = sorted(
        (key for key in keys if key.startswith(prefix) and (after is None or key.encode() > after.encode())),
        key=str.encode,
    )
    assert got == expected
