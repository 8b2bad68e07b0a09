# SPDX-License-Identifier: MIT
"""Read documents back from the store and compare."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tgsyncd.errors import DocumentCorrupt

if TYPE_CHECKING:
    from tgsyncd.model import DocumentRef
    from tgsyncd.ports import Store

__all__ = ["Verify", "read_back", "shall_verify"]

SAMPLE_ONE_IN = 10


class Verify(StrEnum):
    """How much of what was stored is read back before a video is published."""

    FULL = "full"
    SAMPLE = "sample"
    NONE = "none"


@runtime_checkable
class HashingStore(Protocol):
    """A store that reads and hashes a document where it lies: a tenth of the work of bringing it here."""

    async def sha256(self, ref: DocumentRef) -> str:
        """Return the sha256 of all bytes that the store has of the document. Raises as ``Store.open``."""
        ...


async def read_back(store: Store, ref: DocumentRef) -> None:
    """Read a whole document. Raises DocumentCorrupt when its sha256 differs, and all of ``Store.open``."""
    found = await store.sha256(ref) if isinstance(store, HashingStore) else await _hash(store, ref)
    if found != ref.sha256:
        raise DocumentCorrupt(
            f"a stored document reads back with sha256 {found[:12]}, {ref.sha256[:12]} was stored",
            hint="it is stored again",
        )


async def _hash(store: Store, ref: DocumentRef) -> str:
    digest = hashlib.sha256()
    async with aclosing(store.open(ref, 0, ref.size_bytes)) as chunks:
        async for chunk in chunks:
            digest.update(chunk)
    return digest.hexdigest()


def shall_verify(mode: Verify, number: int, ref: DocumentRef) -> bool:
    """
    Decide whether to read this document back.

    ``sample`` takes the first document, which every play needs, and one in ten of the others, chosen by its
    sha256: the same ones at every run, in no pattern.
    """
    if mode is Verify.SAMPLE:
        return number == 0 or int(ref.sha256[:8], 16) % SAMPLE_ONE_IN == 0
    return mode is Verify.FULL
