"""The classifier's array; that it finds the right rule is test_against_naive's."""

import pytest

from fajita import TextFileValue
from fajita.nfs.firewall_rules import classifier as module
from fajita.nfs.firewall_rules.classifier import LEAST_NUMBERS, classifier
from fajita.nfs.firewall_rules.conditions import Ruleset
from fajita.nfs.firewall_rules.notation import read_rules


def rules(*lines: str) -> Ruleset:
    head = ["table inet t {", "chain c {", "type filter hook forward priority 0; policy drop"]
    return read_rules(TextFileValue("r.nft", "\n".join([*head, *lines, "}", "}", ""])))


def test_small_sets_of_rules_have_arrays_of_one_length() -> None:
    lengths = {len(classifier(rules(*["tcp dport 22 accept"] * count))) for count in (0, 1, 64, 1000)}
    assert lengths == {LEAST_NUMBERS}


def test_rules_alike_share_vectors() -> None:
    many = rules(*(f"ip saddr 10.{n // 256}.{n % 256}.0/24 tcp dport {{ 22, 80 }} accept" for n in range(2000)))
    # The vectors of 2,000 networks with 33 numbers each, and some more.
    assert len(classifier(many)) == 1 << 17


def test_rules_that_need_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAXIMUM_NUMBERS", 3000)
    with pytest.raises(ValueError, match="the rules need more than 1 GiB"):
        classifier(rules(*(f"ip saddr 10.0.{n}.0/24 accept" for n in range(256))))
