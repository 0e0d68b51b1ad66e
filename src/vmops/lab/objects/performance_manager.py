"""The performance manager: figures of the guests and of the hosts they are on, lately."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.machine.machine import Machine
from vmops.lab.operations.performance_counters import COUNTERS, added
from vmops.lab.operations.performance_samples import INTERVAL_S, PerformanceSamples, Sample

_Manager = vim.PerformanceManager


class PerformanceManager(ManagedObject):
    """Answers with samples of the last hour; the lab keeps no history."""

    wire_type = vim.PerformanceManager

    def __init__(self, kernel: Kernel, moid: str, samples: PerformanceSamples) -> None:
        super().__init__(kernel, moid)
        self._samples = samples
        self.properties.update(
            description=vim.PerformanceDescription(
                counterType=[_described(each) for each in ("average", "latest", "summation")],
                statsType=[_described(each) for each in ("absolute", "delta", "rate")],
            ),
            historicalInterval=[],
            perfCounter=[each.info() for each in COUNTERS],
        )

    def QueryPerfProviderSummary(self, entity: Reference) -> _Manager.ProviderSummary:
        """Say how often there are figures of an entity.

        Raises:
            vmodl.fault.InvalidArgument: there are none: it is no machine and no host.
        """
        self._provider(entity)
        return _Manager.ProviderSummary(
            entity=entity, currentSupported=True, summarySupported=False, refreshRate=INTERVAL_S
        )

    async def QueryAvailablePerfMetric(
        self,
        entity: Reference,
        beginTime: datetime | None = None,
        endTime: datetime | None = None,
        intervalId: int | None = None,
    ) -> list[_Manager.MetricId]:
        """List the counters and instances there are samples of."""
        if intervalId not in (None, INTERVAL_S):
            return []
        found: dict[tuple[int, str], None] = {}
        for sample in _between(await self._read(self._provider(entity)), beginTime, endTime):
            found |= dict.fromkeys(sample.values)
        return [_Manager.MetricId(counterId=key, instance=name) for key, name in sorted(found)]

    def QueryPerfCounter(self, counterId: Sequence[int]) -> list[_Manager.CounterInfo]:
        """Describe counters by key.

        Raises:
            vmodl.fault.InvalidArgument: there is no such counter.
        """
        known = {each.key: each for each in COUNTERS}
        if any(key not in known for key in counterId):
            raise invalid_argument("counterId", "There is no such counter.")
        return [known[key].info() for key in counterId]

    def QueryPerfCounterByLevel(self, level: int) -> list[_Manager.CounterInfo]:
        """Describe the counters of a collection level, 1 to 4: all are of level 1."""
        if not 1 <= level <= 4:
            raise invalid_argument("level", "It is 1 to 4.")
        return [each.info() for each in COUNTERS]

    async def QueryPerf(
        self, querySpec: Sequence[_Manager.QuerySpec]
    ) -> list[_Manager.EntityMetricBase]:
        """Return samples, oldest first; those of another interval than 20 s there are not.

        Raises:
            vmodl.fault.InvalidArgument: an entity that has none, or an unknown format.
        """
        answers = []
        for spec in querySpec:
            if spec.format not in (None, "normal", "csv"):
                raise invalid_argument("querySpec.format", "It is normal or csv.")
            provider = self._provider(spec.entity)
            samples: list[Sample] = []
            if spec.intervalId in (None, INTERVAL_S):
                samples = _between(await self._read(provider), spec.startTime, spec.endTime)
            if spec.maxSample is not None and spec.maxSample > 0:
                samples = samples[-spec.maxSample :]
            answers.append(_answer(spec, samples))
        return answers

    def _provider(self, ref: Reference) -> Machine | HostSystem:
        entity = self.kernel.registry.get(ref)
        if not isinstance(entity, Machine | HostSystem):
            raise invalid_argument("entity", "There are no figures of it.")
        return entity

    async def _read(self, provider: Machine | HostSystem) -> list[Sample]:
        if isinstance(provider, Machine):
            return await self._samples.samples(provider)
        last = []
        for vm in self.kernel.registry.present(provider.properties["vm"], Machine):
            last += (await self._samples.samples(vm))[-1:]
        if not last:
            return []
        newest = max(each.timestamp for each in last)
        return [Sample(timestamp=newest, values=added(each.values for each in last))]


def _described(key: str) -> vim.ElementDescription:
    return vim.ElementDescription(key=key, label=key.capitalize(), summary=key)


def _between(
    samples: Iterable[Sample], begin: datetime | None, end: datetime | None
) -> list[Sample]:
    return [
        each
        for each in samples
        if (begin is None or each.timestamp > begin) and (end is None or each.timestamp <= end)
    ]


def _answer(spec: _Manager.QuerySpec, samples: Sequence[Sample]) -> _Manager.EntityMetricBase:
    series = {
        wanted: [sample.values.get(wanted, 0) for sample in samples]
        for wanted in _wanted(spec.metricId, samples)
    }
    ids = {(key, name): _Manager.MetricId(counterId=key, instance=name) for key, name in series}
    if spec.format == "csv":
        return _Manager.EntityMetricCSV(
            entity=spec.entity,
            sampleInfoCSV=",".join(
                f"{INTERVAL_S},{sample.timestamp:%Y-%m-%dT%H:%M:%SZ}" for sample in samples
            ),
            value=[
                _Manager.MetricSeriesCSV(id=ids[key], value=",".join(map(str, values)))
                for key, values in series.items()
            ],
        )
    return _Manager.EntityMetric(
        entity=spec.entity,
        sampleInfo=[
            _Manager.SampleInfo(timestamp=sample.timestamp, interval=INTERVAL_S)
            for sample in samples
        ],
        value=[_Manager.IntSeries(id=ids[key], value=values) for key, values in series.items()],
    )


def _wanted(
    metrics: Sequence[_Manager.MetricId] | None, samples: Sequence[Sample]
) -> list[tuple[int, str]]:
    """Return the counters and instances a query means, each once; ``*`` is every instance."""
    there = sorted({key for sample in samples for key in sample.values})
    if not metrics:
        return there
    return [
        (key, name)
        for key, name in there
        if any(each.counterId == key and each.instance in ("*", name) for each in metrics)
    ]
