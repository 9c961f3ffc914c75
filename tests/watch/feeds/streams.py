"""Feeds a pipe from a thread, and collects what a stream feed hears in it."""

import dataclasses
import os
import threading
import time

from echobank.watch.feeds.pipe import Pipe
from echobank.watch.feeds.stream_feed import StreamFeed


def pour(data, chunks, handle, pause=0.0):
    """Write bytes to a descriptor, cut at the given places, and close it."""

    def work():
        try:
            for first, last in zip([0, *chunks], [*chunks, len(data)], strict=True):
                left = memoryview(data)[first:last]
                while left:
                    left = left[os.write(handle, left) :]
                time.sleep(pause)
        except BrokenPipeError:
            pass
        finally:
            os.close(handle)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def collect(feed, machine, seconds=30.0, enough=lambda verdicts: False):
    """Return the verdicts of a feed until it ends, as a watch names them."""
    seen, verdicts, end = {}, [], time.monotonic() + seconds
    while not (feed.idle or enough(verdicts)):
        assert time.monotonic() < end, "the feed does not end"
        for arrival in feed.arrivals(machine.listener, seen):
            judged = machine.judge(arrival.heard)
            assert len(arrival.places) == len(arrival.times) == len(judged)
            verdicts += [dataclasses.replace(verdict, file=arrival.name) for verdict in judged]
            seen[arrival.name] = arrival.stamp
        time.sleep(0.005)
    return verdicts


def heard_in(machine, data, chunks=(), form=None):
    """Return the verdicts on bytes that come through a pipe."""
    reading, writing = os.pipe()
    writer = pour(data, list(chunks), writing)
    feed = StreamFeed("stdin", Pipe(reading, form), machine.listener)
    try:
        return collect(feed, machine)
    finally:
        feed.close()
        os.close(reading)
        writer.join()


def scored(machine, path):
    """Return what `echobank score` says of a recording, under the name of the stream and without `in_bank`."""
    (heard,) = machine.listener.hear([path])
    return [dataclasses.replace(verdict, file="stdin") for verdict in machine.judge(heard)]
