"""Figures for Prometheus: read from the database when they are asked for; labels of at most 200 machines."""

import shutil
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import ColumnElement, Select, Table, func, select

from echobank.serve.schema import events, machines, troubles, windows
from echobank.serve.service import Service

MOST_MACHINES = 200


class _Reading(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service = self._service
        named = ["machine"]
        score = GaugeMetricFamily("echobank_score", "Anomaly score of the last window", labels=named)
        p_value = GaugeMetricFamily("echobank_p_value", "p-value of the last window", labels=named)
        threshold = GaugeMetricFamily("echobank_threshold", "Score above which a window is anomalous", labels=named)
        still = GaugeMetricFamily("echobank_open_events", "Events that are open", labels=named)
        wrong = GaugeMetricFamily("echobank_troubles", "Troubles that are not over", labels=named)
        with service.engine.connect() as connection:
            counts = [
                {row[0]: row[1] for row in connection.execute(_counted(table, end))}
                for table, end in ((events, events.c.closed.is_(None)), (troubles, troubles.c.until.is_(None)))
            ]
            for row in connection.execute(select(machines).order_by(machines.c.id).limit(MOST_MACHINES)).all():
                newest = select(windows.c.score, windows.c.p_value).where(windows.c.machine == row.id)
                last = connection.execute(newest.order_by(windows.c.heard.desc()).limit(1)).first()
                for family, value in (
                    (score, last.score if last else None),
                    (p_value, last.p_value if last else None),
                    (threshold, row.threshold),
                    (still, counts[0].get(row.id, 0)),
                    (wrong, counts[1].get(row.id, 0)),
                ):
                    if value is not None:
                        family.add_metric([row.name], value)
        yield from (score, p_value, threshold, still, wrong)
        yield GaugeMetricFamily("echobank_queue", "Recordings that wait to be judged", service.scoring.depth)
        yield GaugeMetricFamily("echobank_changes", "Changes that wait to be committed", service.writer.depth)
        yield GaugeMetricFamily("echobank_listeners", "Open streams of messages", service.broadcast.listeners)
        free = shutil.disk_usage(service.settings.folder).free
        yield GaugeMetricFamily("echobank_disk_free_bytes", "Free bytes of the disk", free)
        yield CounterMetricFamily(
            "echobank_dropped", "Recordings refused because too many were under way", service.dropped
        )


def exposition(service: Service) -> tuple[bytes, str]:
    """Return the figures and their media type."""
    registry = CollectorRegistry()
    registry.register(_Reading(service))
    registry.register(service.latency)
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _counted(table: Table, which: ColumnElement[bool]) -> Select[Any]:
    return select(table.c.machine, func.count()).where(which).group_by(table.c.machine)
