"""Packets per second of a count per flow, with what a Python user has beside fajita: scapy, dpkt, nfstream, tshark.

    pip install dpkt nfstream; apt install tshark
    python bench/peers.py CAPTURE [--repeat 3]

CAPTURE: a pcap file of Ethernet. Each counts the packets of every 5-tuple of IPv4 TCP and UDP, its own way, from
opening the file on; the counts have to agree with fajita's, and where they do not it says how many flows differ.
nfstream counts connections, both directions apart. What is not installed is left out. Time is that of a process where
the peer is a program.
Prints one JSON object a line.
"""

import argparse
import importlib.util
import json
import shutil
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from socket import AF_INET, inet_ntop

from fajita import Chain
from fajita.nfs.flow_counter import FlowCounter

#: Source and destination, ports, protocol.
Flow = tuple[str, str, int, int, int]
TCP, UDP = 6, 17


def with_fajita(path: Path) -> Counter[Flow]:
    table = Chain([FlowCounter()]).run(path).table("flow_counter").to_pydict()
    columns = zip(*(table[name] for name in ("src", "dst", "src_port", "dst_port", "protocol", "packets")), strict=True)
    return Counter(
        {
            (src, dst, src_port, dst_port, protocol): packets
            for src, dst, src_port, dst_port, protocol, packets in columns
            if protocol in (TCP, UDP) and ":" not in src
        }
    )


def with_scapy(path: Path) -> Counter[Flow]:
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.utils import PcapReader

    flows: Counter[Flow] = Counter()
    with PcapReader(str(path)) as packets:
        for packet in packets:
            if IP in packet and (TCP in packet or UDP in packet):
                ip, transport = packet[IP], packet[TCP] if TCP in packet else packet[UDP]
                flows[ip.src, ip.dst, transport.sport, transport.dport, ip.proto] += 1
    return flows


def with_dpkt(path: Path) -> Counter[Flow]:
    import dpkt

    flows: Counter[Flow] = Counter()
    with path.open("rb") as file:
        for _, frame in dpkt.pcap.Reader(file):
            ip = dpkt.ethernet.Ethernet(frame).data
            if isinstance(ip, dpkt.ip.IP) and isinstance(ip.data, dpkt.tcp.TCP | dpkt.udp.UDP):
                flows[inet_ntop(AF_INET, ip.src), inet_ntop(AF_INET, ip.dst), ip.data.sport, ip.data.dport, ip.p] += 1
    return flows


def with_nfstream(path: Path) -> Counter[Flow]:
    from nfstream import NFStreamer

    flows: Counter[Flow] = Counter()
    how = {"idle_timeout": 10**6, "active_timeout": 10**6, "n_dissections": 0, "n_meters": 1, "accounting_mode": 1}
    for flow in NFStreamer(source=str(path), **how):
        if flow.protocol in (TCP, UDP) and flow.ip_version == 4:
            forward = (flow.src_ip, flow.dst_ip, flow.src_port, flow.dst_port, flow.protocol)
            back = (flow.dst_ip, flow.src_ip, flow.dst_port, flow.src_port, flow.protocol)
            flows[forward] += flow.src2dst_packets
            if flow.dst2src_packets:
                flows[back] += flow.dst2src_packets
    return flows


def with_tshark(path: Path) -> Counter[Flow]:
    fields = ["ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport", "ip.proto"]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *(part for name in fields for part in ("-e", name))]
    flows: Counter[Flow] = Counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            src, dst, tcp_src, tcp_dst, udp_src, udp_dst, protocol = line.rstrip("\n").split("\t")
            if protocol in (str(TCP), str(UDP)) and (tcp_src or udp_src):
                flows[src, dst, int(tcp_src or udp_src), int(tcp_dst or udp_dst), int(protocol)] += 1
    return flows


PEERS: dict[str, Callable[[Path], Counter[Flow]]] = {
    "fajita": with_fajita,
    "scapy": with_scapy,
    "dpkt": with_dpkt,
    "nfstream": with_nfstream,
    "tshark": with_tshark,
}


def is_there(name: str) -> bool:
    return shutil.which(name) is not None if name == "tshark" else importlib.util.find_spec(name) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    expected = with_fajita(options.capture)  # the kernel is compiled by now
    packets = Chain([FlowCounter()]).run(options.capture).report["packets"]["in"]
    for name, count in PEERS.items():
        if not is_there(name):
            print(json.dumps({"peer": name, "left_out": "not installed"}), flush=True)
            continue
        seconds = []
        for _ in range(options.repeat):
            start = time.perf_counter()
            flows = count(options.capture)
            seconds.append(time.perf_counter() - start)
        differing = sum(flows[flow] != expected[flow] for flow in flows.keys() | expected.keys())
        rate = packets / statistics.median(seconds)
        figures = {"peer": name, "packets": packets, "flows": len(flows), "flows_that_differ": differing}
        print(json.dumps(figures | {"packets_per_second": round(rate)}), flush=True)


if __name__ == "__main__":
    main()
