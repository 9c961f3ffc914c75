"""Figures for Prometheus: read from the database on request; labels of at most 200 machines."""

import shutil
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import select

from echobank.serve.latest import last_windows, open_events, open_troubles
from echobank.serve.running_source import RUNNING
from echobank.serve.schema import machines
from echobank.serve.service import Service
from echobank.version import __version__

MOST_MACHINES = MOST_SOURCES = 200
_OF_MACHINES = {
    "echobank_score": "Anomaly score of the last window",
    "echobank_p_value": "p-value of the last window",
    "echobank_level_dbfs": "Level of the last window",
    "echobank_threshold": "Score above which a window is anomalous",
    "echobank_open_events": "Events that are open",
    "echobank_troubles": "Troubles that are not over",
    "echobank_last_heard_timestamp_seconds": "When the last window was recorded",
}


class _Reading(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service = self._service
        with service.engine.connect() as connection:
            rows = connection.execute(select(machines).order_by(machines.c.id)).all()
            last, still, wrong = last_windows(connection), open_events(connection), open_troubles(connection)
        families = {name: GaugeMetricFamily(name, text, labels=["machine"]) for name, text in _OF_MACHINES.items()}
        for row in rows[:MOST_MACHINES]:
            window = last.get(row.id)
            values = (
                window.score if window else None,
                window.p_value if window else None,
                window.level_dbfs if window else None,
                row.threshold,
                still.get(row.id, 0),
                wrong.get(row.id, 0),
                None if row.heard is None else row.heard / 1000,
            )
            for family, value in zip(families.values(), values, strict=True):
                if value is not None:
                    family.add_metric([row.name], value)
        yield from families.values()
        yield GaugeMetricFamily("echobank_machines", "Machines that the service knows", len(rows))
        left_out = max(0, len(rows) - MOST_MACHINES)
        yield GaugeMetricFamily(
            "echobank_machines_left_out", f"Machines beyond {MOST_MACHINES}, without labels", left_out
        )
        yield GaugeMetricFamily("echobank_queue", "Recordings that wait to be judged", service.scoring.depth)
        yield GaugeMetricFamily("echobank_changes", "Changes that wait to be committed", service.writer.depth)
        yield GaugeMetricFamily("echobank_listeners", "Open streams of messages", service.broadcast.listeners)
        yield from _of_sources(service)
        yield GaugeMetricFamily(
            "echobank_folder_bytes", "Bytes that the folder of the service takes", service.store.taken
        )
        free = shutil.disk_usage(service.settings.folder).free
        yield GaugeMetricFamily("echobank_disk_free_bytes", "Free bytes of the disk", free)
        refused = "Recordings refused because too many were under way"
        yield CounterMetricFamily("echobank_dropped", refused, service.dropped)
        waiting = GaugeMetricFamily("echobank_undelivered", "Messages that a place has not taken", labels=["place"])
        failing = GaugeMetricFamily("echobank_place_failing", "Whether a place does not answer", labels=["place"])
        for courier in service.couriers:
            waiting.add_metric([courier.name], courier.waiting)
            failing.add_metric([courier.name], bool(courier.trouble))
        yield from (waiting, failing)
        yield InfoMetricFamily("echobank_build", "Version of the program", {"version": __version__})


def _of_sources(service: Service) -> Iterator[Metric]:
    named = ["source", "machine"]
    up = GaugeMetricFamily("echobank_source_up", "Whether a source runs without trouble", labels=named)
    silence = GaugeMetricFamily("echobank_source_silence_seconds", "Seconds without sound", labels=named)
    starts = CounterMetricFamily("echobank_source_starts", "How often a source was started", labels=named)
    lost = CounterMetricFamily("echobank_source_dropped", "Windows that scoring was too slow for", labels=named)
    for source in service.listening.sources[:MOST_SOURCES]:
        status, labels = source.status, [source.declared.name, source.declared.machine]
        up.add_metric(labels, float(status.state == RUNNING))
        starts.add_metric(labels, status.starts)
        lost.add_metric(labels, status.dropped)
        if status.silence is not None:
            silence.add_metric(labels, status.silence)
    yield from (up, silence, starts, lost)


def exposition(service: Service) -> tuple[bytes, str]:
    """Return the figures and their media type."""
    registry = CollectorRegistry()
    registry.register(_Reading(service))
    registry.register(service.latency)
    return generate_latest(registry), CONTENT_TYPE_LATEST
