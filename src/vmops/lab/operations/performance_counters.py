"""The counters the lab keeps: what each measures, and what a guest's statistics make of it.

Keys and names are those of a vCenter 8; a client finds them by name in ``perfCounter``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pyVmomi import vim

from vmops.lab.hypervisor.port import GuestStatistics

_Info = vim.PerformanceManager.CounterInfo
KIB = 1024
WHOLE = ""
"""The instance that stands for all of a machine's processors, disks or cards."""

_GROUPS = {
    "cpu": "CPU",
    "mem": "Memory",
    "disk": "Disk",
    "virtualDisk": "Virtual disk",
    "net": "Network",
    "sys": "System",
}
_UNITS = {
    "percent": "%",
    "megaHertz": "MHz",
    "millisecond": "ms",
    "kiloBytes": "KB",
    "kiloBytesPerSecond": "KBps",
    "number": "Number",
    "second": "s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One counter; percents are in hundredths."""

    key: int
    group: str
    name: str
    label: str
    unit: str
    rollup: str = "average"
    kind: str = "rate"

    def info(self) -> _Info:
        """Build the PerfCounterInfo."""
        return _Info(
            key=self.key,
            nameInfo=vim.ElementDescription(key=self.name, label=self.label, summary=self.label),
            groupInfo=vim.ElementDescription(
                key=self.group, label=_GROUPS[self.group], summary=_GROUPS[self.group]
            ),
            unitInfo=vim.ElementDescription(
                key=self.unit, label=_UNITS[self.unit], summary=_UNITS[self.unit]
            ),
            rollupType=self.rollup,
            statsType=self.kind,
            level=1,
            perDeviceLevel=3,
        )


_RATE = "kiloBytesPerSecond"
COUNTERS = (
    Counter(key=2, group="cpu", name="usage", label="Usage", unit="percent"),
    Counter(key=6, group="cpu", name="usagemhz", label="Usage in MHz", unit="megaHertz"),
    Counter(
        key=13,
        group="cpu",
        name="used",
        label="Used",
        unit="millisecond",
        rollup="summation",
        kind="delta",
    ),
    Counter(key=24, group="mem", name="usage", label="Usage", unit="percent", kind="absolute"),
    Counter(key=33, group="mem", name="active", label="Active", unit="kiloBytes", kind="absolute"),
    Counter(
        key=98, group="mem", name="consumed", label="Consumed", unit="kiloBytes", kind="absolute"
    ),
    Counter(key=125, group="disk", name="usage", label="Usage", unit=_RATE),
    Counter(key=130, group="disk", name="read", label="Read rate", unit=_RATE),
    Counter(key=131, group="disk", name="write", label="Write rate", unit=_RATE),
    Counter(key=143, group="net", name="usage", label="Usage", unit=_RATE),
    Counter(
        key=146,
        group="net",
        name="packetsRx",
        label="Packets received",
        unit="number",
        rollup="summation",
        kind="delta",
    ),
    Counter(
        key=147,
        group="net",
        name="packetsTx",
        label="Packets transmitted",
        unit="number",
        rollup="summation",
        kind="delta",
    ),
    Counter(key=148, group="net", name="received", label="Data receive rate", unit=_RATE),
    Counter(key=149, group="net", name="transmitted", label="Data transmit rate", unit=_RATE),
    Counter(
        key=155,
        group="sys",
        name="uptime",
        label="Uptime",
        unit="second",
        rollup="latest",
        kind="absolute",
    ),
    Counter(
        key=173,
        group="virtualDisk",
        name="numberReadAveraged",
        label="Average read requests per second",
        unit="number",
    ),
    Counter(
        key=174,
        group="virtualDisk",
        name="numberWriteAveraged",
        label="Average write requests per second",
        unit="number",
    ),
    Counter(key=178, group="virtualDisk", name="read", label="Read rate", unit=_RATE),
    Counter(key=179, group="virtualDisk", name="write", label="Write rate", unit=_RATE),
)
BY_NAME = {(each.group, each.name): each.key for each in COUNTERS}

Values = dict[tuple[int, str], int]
"""Values by counter and instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a guest had used at a moment of `time.monotonic`."""

    at: float
    used: GuestStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a machine has: to make shares and names of what it uses."""

    cpus: int
    mhz: int
    memory_kib: int
    disks: Mapping[int, str]
    """Device key to instance, ``scsi0:1``."""
    uptime_s: int


def values_between(before: Reading, after: Reading, shape: Shape) -> Values:
    """Return what a guest did from one reading to the next.

    A counter that has begun again in between, as after a live migration, counts from there.
    """
    seconds = max(after.at - before.at, 0.001)
    values: Values = {}

    def put(group: str, name: str, instance: str, value: float) -> None:
        values[BY_NAME[group, name], instance] = round(value)

    spent_ns = _gone(before.used.cpu_time_ns, after.used.cpu_time_ns)
    busy = min(spent_ns / 1e9 / seconds, float(shape.cpus))
    put("cpu", "usage", WHOLE, busy / shape.cpus * 10_000)
    put("cpu", "usagemhz", WHOLE, busy * shape.mhz)
    put("cpu", "used", WHOLE, spent_ns / 1e6)
    held = after.used.resident_bytes / KIB
    put("mem", "consumed", WHOLE, held)
    # What of it the guest has touched lately nobody counts: all of it is taken for active.
    put("mem", "active", WHOLE, min(held, shape.memory_kib))
    put("mem", "usage", WHOLE, min(held, shape.memory_kib) / shape.memory_kib * 10_000)
    put("sys", "uptime", WHOLE, shape.uptime_s)
    _put_disks(put, before.used, after.used, shape, seconds)
    _put_nics(put, before.used, after.used, seconds)
    return values


def _put_disks(
    put: Callable[..., None],
    before: GuestStatistics,
    after: GuestStatistics,
    shape: Shape,
    seconds: float,
) -> None:
    read = written = 0.0
    for key, now in after.disks.items():
        old = before.disks.get(key, now)
        of_read = _gone(old.read_bytes, now.read_bytes) / KIB / seconds
        of_written = _gone(old.written_bytes, now.written_bytes) / KIB / seconds
        read, written = read + of_read, written + of_written
        instance = shape.disks.get(key)
        if instance is None:
            continue
        put("virtualDisk", "read", instance, of_read)
        put("virtualDisk", "write", instance, of_written)
        reads, writes = _gone(old.reads, now.reads), _gone(old.writes, now.writes)
        put("virtualDisk", "numberReadAveraged", instance, reads / seconds)
        put("virtualDisk", "numberWriteAveraged", instance, writes / seconds)
    put("disk", "read", WHOLE, read)
    put("disk", "write", WHOLE, written)
    put("disk", "usage", WHOLE, read + written)


def _put_nics(
    put: Callable[..., None], before: GuestStatistics, after: GuestStatistics, seconds: float
) -> None:
    received = sent = 0.0
    packets_in = packets_out = 0
    known = False
    for key, now in after.nics.items():
        old = before.nics.get(key, now)
        if now.received_bytes is None or now.sent_bytes is None:
            continue
        known = True
        of_received = _gone(old.received_bytes or 0, now.received_bytes) / KIB / seconds
        of_sent = _gone(old.sent_bytes or 0, now.sent_bytes) / KIB / seconds
        received, sent = received + of_received, sent + of_sent
        put("net", "received", str(key), of_received)
        put("net", "transmitted", str(key), of_sent)
        put("net", "usage", str(key), of_received + of_sent)
        came = _gone(old.received_packets or 0, now.received_packets or 0)
        went = _gone(old.sent_packets or 0, now.sent_packets or 0)
        packets_in, packets_out = packets_in + came, packets_out + went
        put("net", "packetsRx", str(key), came)
        put("net", "packetsTx", str(key), went)
    if known:
        put("net", "packetsRx", WHOLE, packets_in)
        put("net", "packetsTx", WHOLE, packets_out)
        put("net", "received", WHOLE, received)
        put("net", "transmitted", WHOLE, sent)
        put("net", "usage", WHOLE, received + sent)


def _gone(before: int, after: int) -> int:
    return after - before if after >= before else after


def added(all_values: Iterable[Values]) -> Values:
    """Add what machines use, for the host they are on; shares of them do not add up."""
    shares = {BY_NAME["cpu", "usage"], BY_NAME["mem", "usage"], BY_NAME["sys", "uptime"]}
    total: Values = {}
    for values in all_values:
        for (counter, instance), value in values.items():
            if instance == WHOLE and counter not in shares:
                total[counter, instance] = total.get((counter, instance), 0) + value
    return total
