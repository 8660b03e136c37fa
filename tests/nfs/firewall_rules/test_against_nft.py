"""The notation against nft itself: what both take means the same in both, rule by rule and packet by packet.

nft prints the instructions that it has for the kernel; nft.py carries them out. FAJITA_FIREWALL_NFT_SETS says on how
many random rule sets (3).
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fajita import InputError, TextFileValue
from fajita.nfs.firewall_rules.conditions import Rule
from fajita.nfs.firewall_rules.notation import read_rules
from tests.nfs.firewall_rules.naive import ICMP, ICMPV6, Header, RandomRules, file_text
from tests.nfs.firewall_rules.nft import accepts, nft_rules, nft_works
from tests.nfs.firewall_rules.packets import ADDRESSES, PORTS, headers, random_packets

pytestmark = pytest.mark.skipif(not nft_works(), reason="needs nft, and the right to check rules with it")

RULE_SETS = int(os.environ.get("FAJITA_FIREWALL_NFT_SETS", "3"))
CHAINS = Path(__file__).parents[3] / "chains"

BEFORE = """\
define LAN = 10.0.0.0/8
define WEB = { 80, 443 }
define KNOWN = new,established
table inet t {
  set nets { type ipv4_addr; flags interval; elements = { 10.0.0.0/31, 192.0.2.1-192.0.2.7, 240.0.0.0/4 }
  }
  set hosts { type ipv6_addr; elements = { 2001:db8::1, fe80::8000:0:0:0 }
  }
  set ports { type inet_service; elements = { 22, 80, 1024 }
  }
  set protocols { type inet_proto; elements = { tcp, udp }
  }
  set empty { type inet_service
  }
  chain c {
    type filter hook forward priority filter + 10; policy drop
"""
RULES = (
    "accept",
    "counter drop",
    'tcp dport 22 counter packets 0 bytes 0 accept comment "with # and ; in it"',
    "ip saddr $LAN drop",
    "ip saddr != $LAN drop",
    "ip saddr { $LAN, 192.0.2.0/24 } drop",
    "ip saddr @nets ip daddr != @nets accept",
    "ip saddr 10.1.2.3/8 accept",
    "ip saddr 10.0.0.1 - 10.0.0.8 accept",
    "ip daddr 0.0.0.0/0 accept",
    "ip daddr != 0.0.0.0/0 accept",
    "ip saddr >= 127.255.255.255 accept",
    "ip6 saddr @hosts accept",
    "ip6 saddr fe80::1/10 ip6 daddr ::/0 accept",
    "ip6 saddr { ::, 2001:db8::-2001:db8::ffff, 8000::/1 } accept",
    "ip6 saddr ::ffff:1.2.3.4 accept",
    "tcp dport @ports accept",
    "tcp dport @empty accept",
    "tcp dport != @empty accept",
    "tcp dport { 22, $WEB } accept",
    "tcp dport $WEB accept",
    "tcp dport ssh accept",
    "tcp dport { http, 1-22, } accept",
    "udp sport 0x35 accept",
    "udp sport != 53-80 accept",
    "udp sport lt 53 accept",
    "udp dport gt 65534 accept",
    "udp dport > 65535 accept",
    "udp dport < 0 accept",
    "tcp dport 80-80 accept",
    "sctp dport 022 accept",
    "tcp sport 22 tcp dport 1024-65535 accept",
    "tcp dport 22 tcp dport 23 accept",
    "meta l4proto { tcp, udp } th dport 53 accept",
    "th dport 53 meta l4proto udp accept",
    "meta l4proto @protocols accept",
    "meta l4proto != @protocols accept",
    "meta l4proto 6-17 accept",
    "ip protocol { tcp, 1, 40-50 } accept",
    "ip protocol != icmp accept",
    "meta nfproto ipv6 accept",
    "meta nfproto != ipv6 tcp dport 80 accept",
    "icmp type { echo-request, 3-5, 0 } accept",
    "icmp type != echo-request icmp code 0 accept",
    "icmp type destination-unreachable icmp code > 0 accept",
    "icmpv6 type nd-neighbor-solicit accept",
    "icmpv6 type { 128-129, 3 } icmpv6 code != 255 accept",
    "ct state established,related accept",
    "ct state invalid drop",
    "ct state != invalid accept",
    "ct state == new accept",
    "ct state { new, invalid } accept",
    "ct state != { new, established } accept",
    "ct state $KNOWN ct state { established, related } accept",
)
#: What neither takes.
REFUSED = (
    "tcp dport 22 udp dport 53 accept",
    "meta l4proto udp tcp dport 22 accept",
    "ip saddr 10.0.0.1 ip6 daddr ::1 accept",
    "icmp type 8 tcp dport 2 accept",
    "accept counter",
    "accept accept",
    'comment "x" accept',
    "tcp dport {} accept",
    "tcp dport { { 22 }, 23 } accept",
    "ip saddr @ports accept",
    "ip6 saddr @nets accept",
    "ip saddr @nowhere accept",
    "ip saddr $NOWHERE accept",
    "ip saddr $LAN/24 accept",
    "tcp dport $WEB-90 accept",
    "tcp dport 70000 accept",
    "tcp dport 90-80 accept",
    "tcp dport 80,81 accept",
    "ip saddr 10.0.0.0/33 accept",
    "ip saddr 10.0.0 accept",
    "ip saddr > 10.0.0.0/8 accept",
    "ip saddr 10.0.0.9-10.0.0.1 accept",
    "icmp type 300 accept",
    "icmp type nonsense accept",
    "ct state new-related accept",
    "ct state new, accept",
    "tcp dport { 22 : accept } accept",
    "ip saddr accept",
    "tcp dport 22 accept }",
    "tcp sport 1 dport 2 accept",
)


def file_with(*rules: str) -> str:
    return BEFORE + "".join(f"    {rule}\n" for rule in rules) + "  }\n}\n"


def read(text: str) -> tuple[Rule, ...]:
    return read_rules(TextFileValue("rules.nft", text)).rules


def is_in(rule: Rule, part: str, bits: int, number: int | None) -> bool:
    if number is None:
        return part not in rule.parts
    return any(first <= number <= last for first, last in rule.spans(part, bits))


def matches(rule: Rule, header: Header, source: int, destination: int, state: int) -> bool:
    """What fajita's parser says."""
    bits = 32 if header.family == 4 else 128
    sport, dport = header.ports or (None, None)
    kind, code = header.message or (None, None)
    return (
        is_in(rule, "family", 3, header.family)
        and is_in(rule, "protocol", 8, header.protocol)
        and is_in(rule, "src", bits, source)
        and is_in(rule, "dst", bits, destination)
        and is_in(rule, "sport", 16, sport)
        and is_in(rule, "dport", 16, dport)
        and is_in(rule, "icmp_type", 8, kind)
        and is_in(rule, "icmp_code", 8, code)
        and is_in(rule, "state", 3, state)
    )


def some_packets(count: int) -> Iterator[tuple[Header, bytes, int, int, int]]:
    """Headers that are wholly captured, with every state in turn."""
    packets = random_packets(count, seed=2)
    block = packets.frames()
    for index in range(count):
        header, template = packets.headers[packets.header[index]]
        if header.message is None and header.protocol in (ICMP, ICMPV6) and len(template) < 60:
            continue
        addresses = ADDRESSES[header.family]
        source, destination = addresses[packets.source[index]], addresses[packets.destination[index]]
        yield header, bytes(block.frame(index)), source, destination, 1 + index % 4


def compare(text: str, count: int) -> None:
    ours, theirs = read(text), nft_rules(text)
    assert [rule.accepts for rule in ours] == [rule.accepts for rule in theirs]
    for header, frame, source, destination, state in some_packets(count):
        for rule, of_nft in zip(ours, theirs, strict=True):
            said = matches(rule, header, source, destination, state)
            assert said == of_nft.matches(header, frame, state), (rule.text, header, source, destination, state)


def test_every_rule_means_what_it_means_to_nft() -> None:
    compare(file_with(*RULES), 1500)


@pytest.mark.parametrize("seed", range(RULE_SETS))
def test_random_rules_mean_what_they_mean_to_nft(seed: int) -> None:
    # nft 1.0.6 makes one comparison of two != that lie side by side in a header, which means another thing.
    rules = [rule for rule in RandomRules(seed, ADDRESSES, PORTS).rules(70) if rule.text.count("!=") < 2]
    compare(file_text(rules, "drop"), 400)


@pytest.mark.parametrize("rule", REFUSED)
def test_what_nft_refuses_is_refused(rule: str) -> None:
    assert not accepts(file_with(rule))
    with pytest.raises(InputError):
        read(file_with(rule))


def test_each_header_is_among_the_packets() -> None:
    assert len({header for header, *_ in some_packets(1500)}) > 0.8 * len({header for header, _ in headers(2)})


@pytest.mark.parametrize("path", sorted(CHAINS.glob("*.nft")), ids=lambda path: path.name)
def test_nft_takes_the_examples(path: Path) -> None:
    assert accepts(path.read_text())
