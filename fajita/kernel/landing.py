"""Whether a packet would come to this worker, for NFs that ask (`self.lands_here`): as a sharder and the table of
indirection would have it."""

from fajita.kernel.function import KernelFunction, kernel_function, rare_function
from fajita.kernel.layout import CONTEXT
from fajita.kernel.memory import load_i64, load_u8
from fajita.kernel.shard import HASH_BYTES
from fajita.kernel.text import Text
from fajita.plan import Plan
from fajita.rss import HashFields

LANDING_IMPORTS = """\
from fajita.kernel.landing import landing_function
from fajita.rss import HashFields
"""
_BYTES_HASHED, _INDIRECTION, _WORKER = (CONTEXT[name] for name in ("bytes_hashed", "indirection", "worker"))
_hash_2_bytes, _hash_4_bytes = HASH_BYTES[2], HASH_BYTES[4]


@kernel_function
def _as_in_frame_16(value):
    """The word that lies in a frame where a field has this value."""
    return (value >> 8 & 0xFF) | (value & 0xFF) << 8


@kernel_function
def _as_in_frame_32(value):
    return _as_in_frame_16(value >> 16) | _as_in_frame_16(value) << 16


def landing_function(fields: HashFields | None) -> KernelFunction:
    """The function `lands_here(context, source, destination, source_port, destination_port)` where these are hashed.

    None: all packets go to one worker. Of each argument the low bits count, as many as the field has.
    """
    hashed_fields = () if fields is None else fields.fields
    go_to_one = fields is None
    has_source, has_destination = "src" in hashed_fields, "dst" in hashed_fields
    has_source_port, has_destination_port = "src_port" in hashed_fields, "dst_port" in hashed_fields
    first_port = 4 * (has_source + has_destination)
    second_port = first_port + 2 * has_source_port

    @rare_function
    def lands_here(context, source, destination, source_port, destination_port):
        if go_to_one:
            return 1
        tables, bucket = load_i64(context + _BYTES_HASHED), 0
        if has_source:
            bucket ^= _hash_4_bytes(tables, 0, _as_in_frame_32(source))
        if has_destination:
            bucket ^= _hash_4_bytes(tables, 4 * has_source, _as_in_frame_32(destination))
        if has_source_port:
            bucket ^= _hash_2_bytes(tables, first_port, _as_in_frame_16(source_port))
        if has_destination_port:
            bucket ^= _hash_2_bytes(tables, second_port, _as_in_frame_16(destination_port))
        return load_u8(load_i64(context + _INDIRECTION) + bucket) == load_i64(context + _WORKER)

    return lands_here


def emit_landing(text: Text, plan: Plan) -> None:
    """The function `lands_here`, if some NF asks."""
    if not plan.asks_landing:
        return
    text.line()
    text.line("# where packets land")
    text.line(f"lands_here = landing_function({plan.sharding.fields!r})")
