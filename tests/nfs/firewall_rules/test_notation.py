"""What the notation means, and that whatever is wrong is said once, with its line and column."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita import InputError, TextFileValue
from fajita.nfs.firewall_rules.conditions import Rule, Ruleset
from fajita.nfs.firewall_rules.notation import MAXIMUM_RULES, read_rules

HEAD = "table inet t {\n  chain c {\n    type filter hook forward priority 0; policy drop\n"
#: The line on which the first rule of `of` stands.
FIRST_LINE = 4


def read(text: str) -> Ruleset:
    return read_rules(TextFileValue("r.nft", text))


def of(*rules: str) -> tuple[Rule, ...]:
    return read(HEAD + "".join(f"    {rule}\n" for rule in rules) + "  }\n}\n").rules


def error(text: str) -> InputError:
    with pytest.raises(InputError) as refused:
        read(text)
    return refused.value


def refusal(text: str) -> InputError | None:
    try:
        read(text)
    except InputError as refused:
        return refused
    return None


def test_rules_have_the_line_and_the_text_that_they_stand_with() -> None:
    text = """\
#!/usr/sbin/nft -f
flush ruleset
define LAN = 10.0.0.0/8   # inside

table inet filter {
  comment "the office"
  set ports {
    type inet_service
    flags interval; auto-merge
    comment "open"
    elements = { 22, 80-90,
                 85-100 }
  }
  chain forward {
    type filter hook forward priority filter - 5; policy accept;
    comment "all of it"
    ip  saddr $LAN tcp dport @ports counter accept comment "so; it # is"; udp dport {
      53,  # names
      123
    } \\
      drop
  }
}
"""
    found = read(text)
    assert (found.accepts, found.families) == (True, {4, 6})
    first, second = found.rules
    assert (first.line, first.text) == (17, "ip saddr $LAN tcp dport @ports counter accept")
    assert first.accepts
    assert first.parts["dport"] == ((22, 22), (80, 100))
    assert (second.line, second.text, second.accepts) == (17, "udp dport { 53, 123 } drop", False)


def test_the_policy_is_accept_unless_the_chain_says_otherwise() -> None:
    assert read("table ip t {\n chain c {\n type filter hook input priority raw\n }\n}").accepts


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_prefix_is_the_network_it_says(address, length):
    length = length if address.version == 6 else length % 33
    network: IPv4Network | IPv6Network = ip_network(f"{address}/{length}", strict=False)
    (rule,) = of(f"{'ip' if address.version == 4 else 'ip6'} saddr {address}/{length} accept")
    assert rule.parts["src"] == ((int(network[0]), int(network[-1])),)


numbers = st.sets(st.integers(0, 65535), min_size=1, max_size=8)


@given(numbers)
def test_a_set_has_its_elements_and_its_complement_the_others(ports):
    text = "{ " + ", ".join(map(str, sorted(ports, key=hash))) + " }"
    those, others = of(f"tcp dport {text} accept", f"tcp dport != {text} accept")
    found = {number for first, last in those.parts["dport"] for number in range(first, last + 1)}
    rest = sum(last - first + 1 for first, last in others.parts["dport"])
    assert (found, rest) == (ports, 65536 - len(ports))
    assert all(not first <= port <= last for first, last in others.parts["dport"] for port in ports)


@given(st.integers(0, 65535), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_comparisons(port, sign):
    words = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
    signed, worded = of(f"udp sport {sign} {port} accept", f"udp sport {words[sign]} {port} accept")
    expected = eval(f"[number for number in range(65536) if number {sign} port]", {"port": port})
    assert [n for first, last in signed.parts["sport"] for n in range(first, last + 1)] == expected
    assert worded.parts == signed.parts


@given(st.text(alphabet='abz019.:/-{},;@$"#!=<>& \n\\tcpidrsoue', max_size=80))
def test_whatever_stands_there_is_a_rule_or_an_error_with_a_place(text):
    refused = refusal(HEAD + f"    {text}\n  }}\n}}\n")
    if refused is not None:
        file, line, column = refused.where.split(":")
        assert (file, refused.right != "") == ("r.nft", True)
        assert int(line) >= FIRST_LINE
        assert int(column) >= 1


VALID = HEAD + "    ip saddr { 10.0.0.0/8, 11.0.0.1-11.0.0.9 } tcp dport != 22 counter drop\n  }\n}\n"


@given(
    st.integers(0, len(VALID)),
    st.integers(0, 12),
    st.sampled_from(["", "{", "}", '"', "$x", "@x", "-", "/", "\0", "é"]),
)
def test_a_damaged_file_is_refused_in_one_line(at, removed, inserted):
    text = VALID[:at] + inserted + VALID[at + removed :]
    refused = refusal(text)
    assert refused is None or (refused.where.startswith("r.nft:") and "\n" not in str(refused))


#: A rule, the column of what is wrong with it, what that is, and what would be right.
WRONG_RULES = (
    ("tcp dport 22", 17, "the rule has no verdict", "accept or drop"),
    ("tcp dport 22 reject", 18, "there is no reject here", "drop; nothing is sent back here"),
    ("jump other", 5, "there is no jump here", "one chain has all rules"),
    ("log accept", 5, "there is no log here", "leave it out; every rule is counted"),
    ("iif lo accept", 5, "there is no iif here", "addresses; packets have no interfaces here"),
    ("tcp flags syn accept", 9, "'flags' stands where a field of tcp should be", "known: sport, dport"),
    ("tcp dprt 22 accept", 9, "'dprt' stands where a field of tcp should be", "did you mean dport or sport?"),
    ("tcp dport 70000 accept", 15, "'70000' is not a port", "0 to 65535 or one of ftp, ssh"),
    ("tcp dport sssh accept", 15, "'sssh' is not a port", "0 to 65535 or one of ftp, ssh"),
    ("tcp dport 80,81 accept", 15, "a port is one value, here are several", "{ …, … }"),
    ("tcp dport 90-80 accept", 15, "the range 90-80 ends before it begins", "80-90"),
    ("tcp dport 0/8 accept", 17, "a port has no prefixes", "give a range, such as 80-90"),
    ("tcp dport {} accept", 16, "the set is empty", "give it an element, or delete what names it"),
    ("tcp dport { 22 80 } accept", 20, "'80' stands where the next element, or } should be", "write ,"),
    ("tcp dport { { 22 } } accept", 17, "a set stands in a set", "leave the inner braces out"),
    ("tcp dport > 22-23 accept", 17, "> cannot compare a port with this", "one number, or =="),
    ("tcp dport accept", 15, "'accept' is not a port", "0 to 65535 or one of ftp, ssh"),
    ("tcp dport @ports accept", 16, "there is no set ports before this chain", "known: none"),
    ("tcp dport $WEB accept", 16, "$WEB is not defined", "known: none"),
    ("ip saddr 10.0.0 accept", 14, "'10.0.0' is not an IPv4 address", "such as 10.0.0.1"),
    ("ip saddr 10.0.0.256 accept", 14, "'10.0.0.256' is not an IPv4 address", "such as 10.0.0.1"),
    ("ip saddr 10 accept", 14, "'10' is not an IPv4 address", "such as 10.0.0.1"),
    ("ip saddr localhost accept", 14, "'localhost' is not an IPv4 address", "such as 10.0.0.1"),
    ("ip saddr ::1 accept", 14, "'::1' is not an IPv4 address", "such as 10.0.0.1"),
    ("ip saddr 10.0.0.0/33 accept", 23, "10.0.0.0/33 is no prefix: an IPv4 address has 32 bits", "0 to 32"),
    ("ip saddr 10.0.0.0/x accept", 23, "'x' is no length of a prefix", "such as 10.0.0.0/8"),
    ("ip6 saddr 1::2::3 accept", 15, "'1::2::3' is not an IPv6 address", "such as 2001:db8::1"),
    ("ip saddr 1.2.3.4/8-1.2.3.9 accept", 23, "'-' is no part of a rule", "known: accept, counter, ct, drop"),
    ("ip saddr ! 10.0.0.1 accept", 14, "'!' is no value", "such as 10.0.0.0/8, 443, 80-90, { 22, 80 } or $NAME"),
    (
        "ip saddr 1.2.3.4 ip6 daddr ::1 drop",
        22,
        "the rule asks for a packet of IPv4 and of IPv6 at once",
        "nothing match",
    ),
    ("tcp dport 1 udp dport 2 drop", 17, "the rule asks for a packet of several protocols at once", "nothing match"),
    ("th dport 53 accept", 5, "th in a rule that does not say which protocol", "meta l4proto { tcp, udp } beside it"),
    ("meta l4proto != tcp th dport 53 drop", 5, "th in a rule that does not say which protocol", "meta l4proto"),
    ("icmp type ping accept", 15, "'ping' is not an ICMP type", "0 to 255 or one of echo-reply"),
    ("ct state open accept", 14, "'open' is not a state", "one of invalid, new, established, related"),
    ("ct state untracked accept", 14, "'untracked' is not a state", "one of invalid, new"),
    ("ct state != new,related drop", 17, "several states behind != are not what they look like", "{ …, … }"),
    ("ct state new-related drop", 14, "'new-related' is not a state", "one of invalid"),
    ("counter packets 5 bytes 6 drop", 21, "a counter does not begin at 0", "packets 0, or leave it out"),
    ("counter tcp dport 22 drop", 13, "a condition stands behind counter", "counter behind all conditions"),
    ("accept drop", 12, "'drop' stands where the statement should end", "; or a line of its own"),
    ("drop comment later", 18, "'later' stands where a comment should be", 'comment "text"'),
    ('comment "x" drop', 17, "'drop' stands where the statement should end", "; or a line of its own"),
    ('drop comment "x', 18, "'\"' stands where a comment should be", 'comment "text"'),
    ("drop }", 10, "'}' stands where the statement should end", "; or a line of its own"),
)


@pytest.mark.parametrize(("rule", "column", "what", "right"), WRONG_RULES, ids=[rule for rule, *_ in WRONG_RULES])
def test_wrong_rules(rule: str, column: int, what: str, right: str) -> None:
    refused = error(HEAD + f"    {rule}\n  }}\n}}\n")
    assert (refused.what, refused.where) == (what, f"r.nft:{FIRST_LINE}:{column}")
    assert refused.right.startswith(right)


#: A file, the place, what is wrong, and what would be right.
WRONG_FILES = (
    ("", "1:1", "there is no chain of rules", "table inet filter"),
    ("table inet t {\n}\n", "3:1", "there is no chain of rules", "table inet filter"),
    ('include "x"\n', "1:1", "'include' stands where a table should be", "define, or table inet filter"),
    ("flush table\n", "1:7", "'table' stands where what is flushed should be", "write ruleset"),
    ("table bridge t {\n}\n", "1:7", "'bridge' stands where the family of the table should be", "known: ip, ip6, inet"),
    ("table inet {\n}\n", "1:12", "'{' stands where the name of the table should be", "letters, digits, _ and -"),
    ("table inet t {\n", "1:14", "the table that begins here has no end", "}"),
    (
        "table inet t {\n chain c {\n type filter hook input priority 0\n",
        "2:10",
        "the chain that begins here has no end",
        "}",
    ),
    (
        "table inet t {\n map m {\n",
        "2:2",
        "'map' stands where a part of the table should be",
        "known: define, set, chain",
    ),
    ("table inet t {\n}\ntable inet u {\n}\n", "3:1", "there is a second table", "one table with one chain"),
    (HEAD + "}\n chain d {\n }\n", "5:8", "there is a second chain", "one table with one chain"),
    (
        "table inet t {\n chain c {\n accept\n",
        "3:2",
        "'accept' stands where the chain's type should be",
        "type filter hook",
    ),
    ("table inet t {\n chain c {\n type nat hook", "3:7", "'nat' stands where filter should be", "write filter"),
    ("table inet t {\n chain c {\n type filter hook x", "3:19", "'x' stands where a hook should be", "known: forward"),
    (
        "table inet t {\n chain c {\n type filter hook input priority x",
        "3:34",
        "'x' stands where a priority should be",
        "known: raw, mangle",
    ),
    (HEAD + "policy reject\n", "4:8", "'reject' stands where the policy should be", "known: accept, drop"),
    ("define a 1\n", "1:10", "'1' stands where = should be", "write ="),
    ("define a = 1\ndefine a = 2\n", "2:8", "a is defined twice", "another name"),
    ("define a = $b\n", "1:13", "$b is not defined", "known: "),
    ("define a = {1}\ndefine b = $a-2\n", "2:13", "$a-2 is not defined", "known: a"),
    ("define a = {1}\ndefine b = $a - 2\n", "2:12", "'$' is more than one value", "give a single one here"),
    ("table inet t {\n set s {\n }\n", "2:6", "the set s has no type", "type ipv4_addr"),
    (
        "table inet t {\n set s {\n type mark\n",
        "3:7",
        "'mark' stands where the type of the elements should be",
        "known: ipv4",
    ),
    ("table inet t {\n set s {\n flags timeout\n", "3:8", "'timeout' stands where a flag should be", "known: interval"),
    ("table inet t {\n set s {\n size 5\n", "3:2", "'size' stands where a part of the set should be", "known: type"),
    (
        "table inet t {\n set s {\n type inet_service; elements = { 1-2 }\n }\n",
        "3:34",
        "the set s has a range or prefix, but not the flag for it",
        "flags interval",
    ),
    (
        "table inet t {\n set s {\n type inet_service; flags interval; elements = { 1-5, 3 }\n }\n",
        "2:6",
        "elements of the set s overlap",
        "auto-merge",
    ),
    ("table inet t {\n set s {\n elements = 5\n", "3:13", "the elements are no set", "{ … }"),
    (
        "table inet t {\n set s {\n type ipv4_addr\n }\n set s {\n type ipv4_addr\n }\n",
        "5:6",
        "there are two sets s",
        "another name",
    ),
    (
        "table inet t {\n set s {\n type ipv4_addr\n }\n" + HEAD.partition("\n")[2] + " tcp dport @s drop\n",
        "7:13",
        "the set s has the type ipv4_addr, not that of a port",
        "inet_service",
    ),
)


@pytest.mark.parametrize(("text", "place", "what", "right"), WRONG_FILES, ids=[what for _, _, what, _ in WRONG_FILES])
def test_wrong_files(text: str, place: str, what: str, right: str) -> None:
    refused = error(text)
    assert (refused.what, refused.where) == (what, f"r.nft:{place}")
    assert refused.right.startswith(right)


def test_too_many_rules_are_refused() -> None:
    refused = error(HEAD + "accept\n" * (MAXIMUM_RULES + 1) + "  }\n}\n")
    assert (refused.what, refused.where) == ("the chain has more than 32,000 rules", "r.nft:2:9")


def test_addresses_of_defines_and_sets() -> None:
    text = (
        "define A = { 10.0.0.1, 10.0.0.2 }\ndefine B = { $A, 10.0.0.9 }\n"
        "table ip t {\n set s { type ipv4_addr; elements = $B\n }\n chain c {\n type filter hook input priority 0\n"
        " ip saddr @s drop\n ip saddr { $B } drop\n }\n}\n"
    )
    ten = int(ip_address("10.0.0.0"))
    assert {rule.parts["src"] for rule in read(text).rules} == {((ten + 1, ten + 2), (ten + 9, ten + 9))}
