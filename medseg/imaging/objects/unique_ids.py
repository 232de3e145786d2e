"""Unique identifiers of the objects that are written."""

import hashlib
import hmac
import uuid

__all__ = ["unique_id"]


def unique_id(seed: str, *parts: str) -> str:
    """Make a UID under 2.25, the root for UUIDs (PS3.5 B.2).

    Parameters
    ----------
    seed : str
        Empty: a new UID each time. Otherwise the UID follows from the seed and `parts` alone.
    *parts : str
        What is identified, such as the UID of the source and the kind of object.

    Examples
    --------
    >>> unique_id("study 7", "1.2.3", "segmentation") == unique_id("study 7", "1.2.3", "segmentation")
    True
    >>> unique_id("") == unique_id("")
    False
    """
    if not seed:
        return f"2.25.{uuid.uuid4().int}"
    digest = hmac.digest(seed.encode(), "\0".join(parts).encode(), hashlib.sha256)
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
