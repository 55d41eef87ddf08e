"""Unmasking of client frames (RFC 6455 section 5.3), in C where the wheel has it.

For 43 kB: C 2 µs, numpy 6 µs, wsproto's tables 115 µs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def unmask_numpy(data: bytes | bytearray | memoryview, key: bytes | bytearray | memoryview) -> bytes:
    """`data` XORed with the 4-byte `key` repeated; for platforms where websockets came without its C part."""
    length = len(data)
    whole = length & ~3
    source = np.frombuffer(data, np.uint8)
    result = np.empty(length, np.uint8)
    np.bitwise_xor(
        source[:whole].view(np.uint32), np.frombuffer(key, np.uint32), out=result[:whole].view(np.uint32)
    )
    result[whole:] = source[whole:] ^ np.frombuffer(key, np.uint8)[: length - whole]
    return result.tobytes()


unmask: Callable[[bytes | bytearray | memoryview, bytes | bytearray], bytes]
try:
    from websockets.speedups import apply_mask as unmask
except ImportError:  # a wheel without the C extension
    unmask = unmask_numpy
