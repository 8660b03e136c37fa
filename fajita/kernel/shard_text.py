"""The functions that give packets their buckets (fajita.kernel.shard), as text of a generated module."""

from fajita.plan import Plan
from fajita.rss import HashFields

SHARD_IMPORTS = """\
from fajita.kernel.shard import UNKNOWN, shard_functions
from fajita.rss import HashFields
"""


def shard_text(plan: Plan, fields: HashFields) -> str:
    """`hash_frames` and `hash_fragments` of a plan."""
    return f"""\
sharder = shard_functions(
    {fields!r},
    inner={plan.settings.inner!r},
    datagrams={plan.datagrams!r},
    segments={len(plan.segments)!r},
    fragments={plan.settings.fragments!r},
    errors={plan.takes_errors!r},
)
hash_frames, hash_fragments = sharder.hash_frames, sharder.hash_fragments
"""
