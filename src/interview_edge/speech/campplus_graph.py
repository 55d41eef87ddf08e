"""CAM++ as an ONNX graph, built from its weights: so no torch is needed to run it, nor to convert it.

The network is that of Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking" (Interspeech 2023): a 2-D convolutional front end over the filter bank, a densely
connected time-delay network whose layers are masked by their context, statistics over time, one dense layer.
Weights are named as in the 3D-Speaker project's checkpoints; their shapes say how many there are of each.

Run as a program it writes the graph of a checkpoint to standard output: importing `onnx` can hold the
interpreter lock for more than a second, which no server's loop should feel.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from interview_edge.speech.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

Weights = Mapping[str, npt.NDArray[Any]]

INPUT, OUTPUT = "features", "embedding"
MEL_BINS = 80
GRAPH_VERSION = 1  # of what is built here: another number, another file in the cache
_OPSET = 19
_IR = 9  # the ONNX file format that goes with the opset
_EPSILON = 1e-5  # batch normalisation, as trained

# Dense blocks: kernel and dilation of their local convolutions.
_BLOCKS = ((3, 1), (3, 2), (3, 2))
_CONTEXT_FRAMES = 100  # a layer's context is the mean of each so many frames, beside the whole mean
_TIME = 2  # the axis of time in (batch, channels, time)


def build_graph(weights: Weights) -> bytes:
    """The model, serialised: features (batch, frames, 80) in, embeddings (batch, 192) out.

    Raises KeyError naming a weight that isn't there.
    """
    from onnx import TensorProto, helper

    graph = _Graph(weights)
    frames = _front_end(graph, INPUT)
    _embedding(graph, _statistics(graph, _time_delay_network(graph, frames)))
    size = weights["xvector.dense.linear.weight"].shape[0]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "campplus",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", "frames", MEL_BINS])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", size])],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
    )
    serialised: bytes = model.SerializeToString()
    return serialised


class _Graph:
    """Nodes and constants as they are added; each operation answers its output's name."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: npt.ArrayLike, dtype: str, name: str | None = None) -> str:
        from onnx import numpy_helper

        name = name or f"constant_{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name)
        return name

    def ints(self, *values: int) -> str:
        return self.constant(values, "<i8")

    def weight(self, name: str) -> str:
        return name if name in self.constants else self.constant(self.weights[name], "<f4", name)

    def conv(self, x: str, name: str, **attributes: Any) -> str:
        bias = [self.weight(f"{name}.bias")] if f"{name}.bias" in self.weights else []
        return self.op("Conv", x, self.weight(f"{name}.weight"), *bias, **attributes)

    def norm(self, x: str, name: str, output: str | None = None) -> str:
        """Batch normalisation; one without weights of its own has scale 1 and shift 0."""
        mean = self.weight(f"{name}.running_mean")
        if f"{name}.weight" in self.weights:
            affine = (self.weight(f"{name}.weight"), self.weight(f"{name}.bias"))
        else:
            size = self.weights[f"{name}.running_mean"].shape
            affine = (self.constant(np.ones(size), "<f4"), self.constant(np.zeros(size), "<f4"))
        variance = self.weight(f"{name}.running_var")
        return self.op("BatchNormalization", x, *affine, mean, variance, epsilon=_EPSILON, **_named(output))

    def relu(self, x: str) -> str:
        return self.op("Relu", x)

    def length(self, x: str) -> str:
        """How many frames `x` (batch, channels, time) has, shape (1)."""
        return self.op("Slice", self.op("Shape", x), self.ints(_TIME), self.ints(_TIME + 1))

    def mean(self, x: str) -> str:
        """Over time, kept as an axis."""
        return self.op("ReduceMean", x, self.ints(_TIME), keepdims=1)


def _named(output: str | None) -> dict[str, Any]:
    return {} if output is None else {"output": output}


def _front_end(graph: _Graph, features: str) -> str:
    """2-D convolutions over (mel, time) that shrink the mel axis eightfold, then laid flat as channels."""
    x = graph.op("Transpose", features, perm=[0, 2, 1])
    x = graph.op("Unsqueeze", x, graph.ints(1))
    x = graph.relu(graph.norm(graph.conv(x, "head.conv1", pads=[1, 1, 1, 1]), "head.bn1"))
    for layer in ("head.layer1", "head.layer2"):
        x = _residual_block(graph, x, f"{layer}.0", mel_stride=2)
        x = _residual_block(graph, x, f"{layer}.1", mel_stride=1)
    x = graph.conv(x, "head.conv2", strides=[2, 1], pads=[1, 1, 1, 1])
    x = graph.relu(graph.norm(x, "head.bn2"))
    channels = graph.weights["head.conv2.weight"].shape[0] * MEL_BINS // 8
    return graph.op("Reshape", x, graph.ints(0, channels, -1))


def _residual_block(graph: _Graph, x: str, name: str, *, mel_stride: int) -> str:
    strides = [mel_stride, 1]
    y = graph.conv(x, f"{name}.conv1", strides=strides, pads=[1, 1, 1, 1])
    y = graph.relu(graph.norm(y, f"{name}.bn1"))
    y = graph.norm(graph.conv(y, f"{name}.conv2", pads=[1, 1, 1, 1]), f"{name}.bn2")
    if f"{name}.shortcut.0.weight" in graph.weights:
        x = graph.norm(graph.conv(x, f"{name}.shortcut.0", strides=strides), f"{name}.shortcut.1")
    return graph.relu(graph.op("Add", y, x))


def _time_delay_network(graph: _Graph, x: str) -> str:
    x = graph.conv(x, "xvector.tdnn.linear", strides=[2], pads=[2, 2])
    x = graph.relu(graph.norm(x, "xvector.tdnn.nonlinear.batchnorm"))
    for number, (kernel, dilation) in enumerate(_BLOCKS, start=1):
        frames = graph.length(x)
        for name in _layers_of(graph.weights, f"xvector.block{number}"):
            y = _masked_layer(graph, x, name, frames, kernel, dilation)
            x = graph.op("Concat", x, y, axis=1)
        transit = f"xvector.transit{number}"
        x = graph.conv(graph.relu(graph.norm(x, f"{transit}.nonlinear.batchnorm")), f"{transit}.linear")
    return graph.relu(graph.norm(x, "xvector.out_nonlinear.batchnorm"))


def _layers_of(weights: Weights, block: str) -> Sequence[str]:
    found = {name.split(".")[2] for name in weights if name.startswith(f"{block}.")}
    return [f"{block}.tdnnd{number}" for number in range(1, len(found) + 1)]


def _masked_layer(graph: _Graph, x: str, name: str, frames: str, kernel: int, dilation: int) -> str:
    """A local convolution, each channel weighed at each frame by what the context says of it."""
    y = graph.conv(graph.relu(graph.norm(x, f"{name}.nonlinear1.batchnorm")), f"{name}.linear1")
    y = graph.relu(graph.norm(y, f"{name}.nonlinear2.batchnorm"))
    reach = (kernel - 1) // 2 * dilation
    local = graph.conv(y, f"{name}.cam_layer.linear_local", pads=[reach, reach], dilations=[dilation])
    context = graph.op("Add", graph.mean(y), _segment_means(graph, y, frames))
    mask = graph.relu(graph.conv(context, f"{name}.cam_layer.linear1"))
    mask = graph.op("Sigmoid", graph.conv(mask, f"{name}.cam_layer.linear2"))
    return graph.op("Mul", local, mask)


def _segment_means(graph: _Graph, y: str, frames: str) -> str:
    """The mean of each `_CONTEXT_FRAMES`, the last ones maybe fewer, at each of their frames."""
    means = graph.op(
        "AveragePool",
        y,
        kernel_shape=[_CONTEXT_FRAMES],
        strides=[_CONTEXT_FRAMES],
        ceil_mode=1,
        count_include_pad=0,
    )
    spread = graph.op("Unsqueeze", means, graph.ints(3))
    spread = graph.op("Expand", spread, graph.ints(1, 1, 1, _CONTEXT_FRAMES))
    spread = graph.op("Reshape", spread, graph.ints(0, 0, -1))
    return graph.op("Slice", spread, graph.ints(0), frames, graph.ints(_TIME))


def _statistics(graph: _Graph, x: str) -> str:
    """Mean and standard deviation (of n - 1) over time, beside each other."""
    mean = graph.mean(x)
    apart = graph.op("Sub", x, mean)
    squares = graph.op("ReduceSum", graph.op("Mul", apart, apart), graph.ints(_TIME), keepdims=0)
    frames = graph.op("Cast", graph.length(x), to=1)
    fewer = graph.op("Sub", frames, graph.constant([1.0], "<f4"))
    deviation = graph.op("Sqrt", graph.op("Div", squares, fewer))
    return graph.op("Concat", graph.op("Squeeze", mean, graph.ints(_TIME)), deviation, axis=1)


def _embedding(graph: _Graph, statistics: str) -> str:
    weight = graph.weights["xvector.dense.linear.weight"]
    matrix = graph.constant(weight.reshape(weight.shape[0], -1).T, "<f4")
    x = graph.op("MatMul", statistics, matrix)
    return graph.norm(x, "xvector.dense.nonlinear.batchnorm", output=OUTPUT)


if __name__ == "__main__":
    sys.stdout.buffer.write(build_graph(read_checkpoint(Path(sys.argv[1]))))
