"""Nodes: an ONNX graph that is put together one operation at a time, each by the name of its result."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.errors import WeightsError

Array = NDArray[Any]

OPSET = 17  # the last one in which the axes of ReduceMean are attributes; every runtime since 2022 has it
IR_VERSION = 8
EXTERNAL_BYTES = 1 << 30  # protobuf ends at 2 GiB; arrays of a larger graph go to a file of their own
_PART_ROWS = 4096
_ALIGNMENT = 4096  # so that runtimes can map arrays into memory


@dataclass
class Graph:
    """An ONNX graph that grows.

    Attributes:
        nodes: Operations, in order.
        arrays: Constants by name.
        inputs: (name, "float32" or "int64", shape with names for sizes that are not fixed).
        outputs: (name, "float64" or "int64", shape).
    """

    nodes: list[Any] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    inputs: list[tuple[str, str, list[Any]]] = field(default_factory=list)
    outputs: list[tuple[str, str, list[Any]]] = field(default_factory=list)
    _count: int = 0

    def name(self, stem: str) -> str:
        """Return a name that nothing has yet."""
        self._count += 1
        return f"{stem}_{self._count}"

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add an array and return its name."""
        name = self.name("constant")
        self.arrays[name] = np.asarray(value, dtype=dtype)
        return name

    def constant_of(self, array: Array) -> str:
        """Return the name of an array that may be there already; it is neither copied nor changed."""
        found = next((name for name, known in self.arrays.items() if known is array), "")
        return found or self.constant(array)

    def add(self, operation: str, *inputs: str, results: int = 1, **attributes: Any) -> str:
        """Add an operation and return the name of its first result; the others are `<name>.1` and so on."""
        helper = _onnx().helper
        name = self.name(operation.lower())
        names = [name, *(f"{name}.{number}" for number in range(1, results))]
        self.nodes.append(helper.make_node(operation, list(inputs), names, name=name, **attributes))
        return name

    def result(self, name: str, x: str) -> None:
        """Call x by the name of an output."""
        self.nodes.append(_onnx().helper.make_node("Identity", [x], [name], name=name))

    def cast(self, x: str, kind: str) -> str:
        """Return x as "float32", "float64" or "int64"."""
        return self.add("Cast", x, to=_kinds()[kind])

    def slice(self, x: str, start: int | str, end: int | str, axis: int = 0) -> str:
        """Return x[start:end] along an axis; start and end are numbers or names of int64[1]."""
        ends = [self.constant([part], np.int64) if isinstance(part, int) else part for part in (start, end)]
        return self.add("Slice", x, *ends, self.constant([axis], np.int64))

    def shape(self, x: str, sizes: Sequence[int]) -> str:
        """Return x in another shape; -1 stands for what is left."""
        return self.add("Reshape", x, self.constant(list(sizes), np.int64))

    def length(self, x: str, axis: int = 0) -> str:
        """Return the size of x along an axis, int64[1]."""
        return self.add("Gather", self.add("Shape", x), self.constant([axis], np.int64), axis=0)

    def total(self, x: str, axis: int, *, keep: bool = False) -> str:
        """Return the sum of x along an axis."""
        return self.add("ReduceSum", x, self.constant([axis], np.int64), keepdims=int(keep))

    def mean(self, x: str, axis: int, *, keep: bool = False) -> str:
        """Return the mean of x along an axis."""
        return self.add("ReduceMean", x, axes=[axis], keepdims=int(keep))

    def inline(self, model: Any, fed: str, wanted: str) -> str:
        """Put the graph of another ONNX model here.

        Args:
            model: A ModelProto of one input.
            fed: What stands for its input.
            wanted: The output that is taken.

        Returns:
            The name of that output here.
        """
        graph, prefix = model.graph, self.name("part")
        known = {item.name for item in graph.initializer}
        (entry,) = [item.name for item in graph.input if item.name not in known]
        for item in graph.initializer:
            self.arrays[f"{prefix}/{item.name}"] = _onnx().numpy_helper.to_array(item)
        for node in graph.node:
            _rename(node, lambda name: fed if name == entry else f"{prefix}/{name}" if name else "")
            self.nodes.append(node)
        return f"{prefix}/{wanted}"

    @property
    def nbytes(self) -> int:
        """Size of all constants."""
        return sum(array.nbytes for array in self.used.values())

    @property
    def used(self) -> dict[str, Array]:
        """The constants that an operation takes."""
        taken = {name for node in self.nodes for name in _taken(node)}
        return {name: array for name, array in self.arrays.items() if name in taken}

    def save(self, path: Path, facts: Mapping[str, str], doc: str, data: Path | None = None) -> None:
        """Write the graph; the same graph gives the same bytes.

        Args:
            path: The file.
            facts: Its metadata.
            doc: What it is.
            data: Where large arrays are written, which the graph knows as `DATA`; None keeps everything in one file.
        """
        onnx = _onnx()
        helper = onnx.helper
        inputs, outputs = (
            [helper.make_tensor_value_info(name, _kinds()[kind], shape) for name, kind, shape in side]
            for side in (self.inputs, self.outputs)
        )
        graph = helper.make_graph(self.nodes, "machine", inputs, outputs)
        offset = 0
        for name, array in self.used.items():
            tensor = graph.initializer.add()
            if data is None or array.nbytes < _ALIGNMENT:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
                continue
            offset += -offset % _ALIGNMENT
            _refer(tensor, name, array, offset)
            offset += array.nbytes
        if data is not None:
            self._write(data)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="echobank"
        )
        model.doc_string = doc
        helper.set_model_props(model, dict(sorted(facts.items())))
        path.write_bytes(model.SerializeToString(deterministic=True))

    def _write(self, data: Path) -> None:
        """Write the arrays that do not lie in the graph, some rows at a time, so that memory is bounded."""
        with data.open("wb") as stream:
            for array in self.used.values():
                if array.nbytes < _ALIGNMENT:
                    continue
                stream.write(b"\0" * (-stream.tell() % _ALIGNMENT))
                for start in range(0, len(array), _PART_ROWS):
                    np.ascontiguousarray(array[start : start + _PART_ROWS]).tofile(stream)


DATA = "machine.data"  # the file of large arrays, as the graph refers to it


def _refer(tensor: Any, name: str, array: Array, offset: int) -> None:
    """Fill in a tensor whose content lies in `DATA`."""
    onnx = _onnx()
    tensor.name = name
    tensor.dims.extend(array.shape)
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", DATA), ("offset", offset), ("length", math.prod(array.shape) * array.itemsize)):
        tensor.external_data.add(key=key, value=str(value))


def _taken(node: Any) -> list[str]:
    """Return what a node reads, also in graphs inside it."""
    inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return [*node.input, *(name for graph in inner for below in graph.node for name in _taken(below))]


def _rename(node: Any, rename: Any) -> None:
    """Rename everything that a node reads and writes, also in graphs inside it."""
    node.name = rename(node.name)
    for names in (node.input, node.output):
        for i, name in enumerate(names):
            names[i] = rename(name)
    for attribute in node.attribute:
        for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for item in (*inner.input, *inner.output, *inner.initializer):
                item.name = rename(item.name)
            for below in inner.node:
                _rename(below, rename)


def _kinds() -> dict[str, int]:
    proto = _onnx().TensorProto
    return {"float32": proto.FLOAT, "float64": proto.DOUBLE, "int64": proto.INT64}


def _onnx() -> Any:
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise WeightsError("onnx is not installed", hint="pip install 'echobank[onnx]'") from error
    return onnx
