"""Assembly: a machine as one graph, from samples at the recorder's rate to score, p-value, decision and nearest row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from echobank.data.channels import ChannelName
from echobank.edge.nodes import Graph
from echobank.edge.odd_band import NAMES, odd_band
from echobank.edge.polyphase import Polyphase, polyphase
from echobank.edge.pooled import embedded
from echobank.edge.tails import Tails
from echobank.edge.trunks import HeardSound
from echobank.errors import ConfigError
from echobank.machines.machine import Machine

RATES_HZ = (4_000, 384_000)


@dataclass(frozen=True)
class Assembled:
    """A machine as a graph.

    Attributes:
        graph: Inputs `samples`, and at another rate than the encoder's `skip`, `count`, `first` and `under`; outputs
            `score`, `p_value`, `decision`, `nearest`, and the band that is odd, zeros for none, one number each.
        sample_rate: The recorder's rate, Hz.
        resampler: What leads to the encoder's rate; None at that rate.
        channel: The channel that it hears, from 0.
    """

    graph: Graph
    sample_rate: int
    resampler: Polyphase | None
    channel: int = 0


def assemble_graph(machine: Machine, sample_rate: int | None = None, int8: bool = False) -> Assembled:
    """Return a machine as a graph.

    Args:
        machine: The machine, at the false-alarm rate in force.
        sample_rate: The recorder's rate, Hz; None is the encoder's own.
        int8: Hold the weights of BEATs in 8 bits and multiply in them.

    Raises:
        ConfigError: Channel, encoder, pooling, back-end, rate or precision cannot be exported.
    """
    listener, graph = machine.listener, Graph()
    channel = one_channel(listener.channel)
    wanted = listener.encoder.facts.sample_rate
    rate = sample_rate or wanted
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise ConfigError("not a rate of a recorder in Hz", value=rate, hint=f"{RATES_HZ[0]} to {RATES_HZ[1]}")
    resampler = polyphase(rate, wanted) if rate != wanted else None
    graph.inputs.append(("samples", "float32", ["samples_in"]))
    heard = HeardSound("samples", "samples", rate) if resampler is None else _resampled(graph, resampler, rate)
    vector = embedded(graph, heard, listener.encoder, listener.pooling, listener.layer, int8)
    tails = Tails(graph)
    near = tails.nearest(machine.backend, vector)
    odd = odd_band(graph, heard.samples, wanted, machine.flags, near)
    _outputs(graph, machine, tails.score(machine.backend, vector), near, odd)
    return Assembled(graph, rate, resampler, channel)


def one_channel(name: ChannelName) -> int:
    """Return the number of the one channel that a bank hears.

    Raises:
        ConfigError: It hears two microphones.
    """
    if isinstance(name, str):
        hint = "the device would have to hear two microphones; fit a bank of one channel: --set data.channel=0"
        raise ConfigError("a bank of data.channel w1 cannot go into an edge package", value=name, hint=hint)
    return name


def _resampled(graph: Graph, resampler: Polyphase, rate: int) -> HeardSound:
    """Return the window: `count` samples from `skip` on of what the resampler makes, `under` it the recorder's."""
    graph.inputs += [
        ("skip", "int64", [1]),
        ("count", "int64", [1]),
        ("first", "float32", [1]),
        ("under", "int64", [2]),
    ]
    whole = resampler.apply(graph, "samples", "first")
    window = graph.slice(whole, "skip", graph.add("Add", "skip", "count"))
    ends = [graph.slice("under", number, number + 1) for number in (0, 1)]
    return HeardSound(window, graph.slice("samples", ends[0], ends[1]), rate)


def _outputs(graph: Graph, machine: Machine, score: str, nearest: str, odd: Sequence[str]) -> None:
    table = machine.calibration
    below = graph.add("Less", graph.constant(table.scores, np.float64), score)
    place = graph.total(graph.cast(below, "int64"), 0, keep=True)
    tails = graph.constant(np.append(table.tails, 0.0), np.float64)
    above = graph.add("Add", graph.add("Gather", tails, place, axis=0), graph.constant(1.0, np.float64))
    p_value = graph.add("Div", above, graph.constant(float(table.groups + 1), np.float64))
    alarm = graph.add("Greater", score, graph.constant(machine.threshold, np.float64))
    results = {"score": score, "p_value": p_value, "decision": graph.cast(alarm, "int64"), "nearest": nearest}
    results |= dict(zip(NAMES, odd, strict=True))
    for name, result in results.items():
        graph.result(name, result)
        graph.outputs.append((name, "int64" if name in ("decision", "nearest") else "float64", [1]))
