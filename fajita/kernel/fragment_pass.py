"""The first pass for a fragment, as text: apart from the others, it finds its flow before its keys are hashed."""

from fajita.kernel.layout import Scratch
from fajita.kernel.prologue import emit_words
from fajita.kernel.text import Text
from fajita.packet import Layer
from fajita.plan import Plan


def emit_hash_fragment(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`hash_N_fragment(context, scratch, position, j, frame)`: the first pass of segment N for one fragment."""
    text.function("rare_function", f"hash_{number}_fragment(context, scratch, position, j, frame)")
    headers_at, datagram_at = f"scratch + {scratch.headers} + 8 * j", f"scratch + {scratch.datagram} + 8 * j"
    with text.indented():
        if number == 0:
            emit_words(text, ("fragments", "time_ns"))
            text.line("time = load_i64(time_ns + 8 * (position + j))")
            text.line(f"follow_fragment(fragments, frame, time, position + j, {headers_at}, {datagram_at})")
        text.line(f"headers, datagram = load_i64({headers_at}), load_i64({datagram_at})")
        tables = plan.segments[number].tables
        if plan.drops_fragments and tables:
            text.line("if headers == DROPPED:")
            for t in tables:
                text.line(f"    store_64(scratch + {scratch.tables[t].hashed} + 8 * j, 0)")
            text.line("    return")
        if number > 0:
            text.line(f"if load_i64(scratch + {scratch.status} + 8 * j) >= 2:")
            text.line("    datagram = 0  # dropped: it leaves no ports here")
        text.line(f"transport = ports_of_fragment({plan.moment_of(number)}, frame, headers, datagram)")
        if plan.hashes_errors(number):
            text.line(f"if headers & {int(Layer.ICMP)}:")
            text.line(f"    hash_{number}_icmp(context, scratch, position, j, frame, headers)")
            text.line("    return")
        if tables:
            text.line("headers = with_ports_of_first(headers, datagram)")
            if plan.tells_ipv6:
                text.line(f"if headers & {int(Layer.IPV6)}:")
                text.line(f"    hash_{number}_ipv6(context, scratch, j, frame, headers, transport)")
                text.line("    return")
            text.line(f"hash_{number}_ipv4(context, scratch, j, frame, headers, transport)")
