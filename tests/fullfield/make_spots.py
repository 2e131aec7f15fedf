"""
Write ``spots.onnx`` and its card: a network that needs no training, so that a run's numbers are known beforehand.

Its output is a YOLO head's, one anchor a pixel: a 16-pixel box on every local maximum of the picture smoothed
over 5 x 5 pixels, scored by how bright it is there. Needs onnx: ``python tests/fullfield/make_spots.py``.
"""

from pathlib import Path

from onnx import TensorProto, checker, helper, save

from detector.cards import Card
from fieldprep.cards import sha256

HERE = Path(__file__).resolve().parent


def network():
    def constant(name, kind, shape, values):
        return helper.make_tensor(name, kind, shape, values)

    nodes = [
        helper.make_node("ReduceMean", ["images"], ["gray"], axes=[1], keepdims=1),
        helper.make_node("AveragePool", ["gray"], ["smooth"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("MaxPool", ["smooth"], ["highest"], kernel_shape=[9, 9], pads=[4, 4, 4, 4]),
        helper.make_node("Equal", ["smooth", "highest"], ["is_peak"]),
        helper.make_node("Cast", ["is_peak"], ["peak"], to=TensorProto.FLOAT),
        # sky is at 0.11 in the picture N, its highest noise peaks after smoothing under 0.2
        helper.make_node("Sub", ["smooth", "black"], ["over_sky"]),
        helper.make_node("Mul", ["over_sky", "gain"], ["bright"]),
        helper.make_node("Clip", ["bright", "zero", "one"], ["clipped"]),
        helper.make_node("Mul", ["clipped", "peak"], ["score"]),
        helper.make_node("Mul", ["smooth", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["ones"]),
        helper.make_node("CumSum", ["ones", "x_axis"], ["column"]),
        helper.make_node("CumSum", ["ones", "y_axis"], ["row"]),
        helper.make_node("Sub", ["column", "half"], ["x"]),
        helper.make_node("Sub", ["row", "half"], ["y"]),
        helper.make_node("Mul", ["ones", "side"], ["size"]),
        helper.make_node("Concat", ["x", "y", "size", "size", "score"], ["map"], axis=1),
        helper.make_node("Reshape", ["map", "shape"], ["output0"]),
    ]
    numbers = {"black": 0.2, "gain": 1.25, "zero": 0.0, "one": 1.0, "half": 0.5, "side": 16.0}
    constants = [constant(name, TensorProto.FLOAT, [], [value]) for name, value in numbers.items()]
    constants += [constant("x_axis", TensorProto.INT64, [], [3]), constant("y_axis", TensorProto.INT64, [], [2])]
    constants += [constant("shape", TensorProto.INT64, [3], [0, 0, -1])]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, "h", "w"])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 5, "anchors"])
    graph = helper.make_graph(nodes, "spots", [images], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    return model


if __name__ == "__main__":
    weights = HERE / "spots.onnx"
    save(network(), weights)
    Card("spots", "detect", "spots", ("galaxy",), "N", 32, 0.25, sha256(weights)).write(weights.with_suffix(".json"))
