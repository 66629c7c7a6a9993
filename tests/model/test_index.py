"""Every collected model opens with its known facts; every bad one ends in a clear sentence or a warning."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from edgestudio.model import graph as graphs
from edgestudio.model.inspection import inspect_file, inspect_job
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Silent

pytestmark = pytest.mark.models

# What each file must be found to be. "in" and "out" are shapes; "operations" counts constants as the source does.
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("basic_pitch/nmp.onnx", {"format": "onnx", "opset": 15, "macs": 524_079_648, "parameters": 35_736,
                              "in": [["unk__749", 43844, 1]]}),
    ("basic_pitch/nmp.tflite", {"format": "tflite", "macs": 524_079_648, "parameters": 35_736}),
    ("basic_pitch/nmp.mlpackage", {"format": "coreml", "format_version": "specification 6", "operations": "471",
                                   "macs": 524_079_648, "in": [[1, 43844, 1]]}),
    ("basic_pitch/nmp_savedmodel", {"format": "savedmodel", "operations": "696", "macs": 524_079_648,
                                    "in": [[None, 43844, 1]],
                                    "out": [[None, 172, 264], [None, 172, 88], [None, 172, 88]]}),
    ("face_short_range_mediapipe/face_detection_short_range.tflite",
     {"weights": "float16", "in": [[1, 128, 128, 3]], "out": [[1, 896, 16], [1, 896, 1]]}),
    ("ic01_mlperf_tiny/pretrainedResnet.h5", {"format": "keras", "parameters": 78_666, "macs": 12_501_632,
                                              "in": [[None, 32, 32, 3]], "out": [[None, 10]]}),
    ("ic01_mlperf_tiny/pretrainedResnet_keras3.keras", {"format": "keras", "parameters": 78_666, "macs": 12_501_632}),
    ("ic01_mlperf_tiny/pretrainedResnet.tflite", {"parameters": 77_706, "macs": 12_501_632, "in": [[None, 32, 32, 3]]}),
    ("ic01_mlperf_tiny/pretrainedResnet_quant.tflite", {"parameters": 77_706, "macs": 12_501_632, "weights": "int8",
                                                        "zero_point": -128}),
    ("ic01_mlperf_tiny/pretrainedResnet_mlprogram_fp16.mlpackage",
     {"format": "coreml", "format_version": "specification 7", "operations": "100", "macs": 12_501_632,
      "parameters": 77_706, "weights": "float16", "out": [[1, 10]]}),
    ("ic01_mlperf_tiny/winml_cifar10_ImageClassifier.onnx",
     {"opset": 10, "producer": "pytorch 1.7", "in": [["batch_size", 3, 32, 32]], "parameters": 50_182}),
    ("kws01_mlperf_tiny/kws_ref_model.tflite", {"macs": 2_656_768, "in": [[None, 49, 10, 1]], "out": [[None, 12]],
                                                "weights": "int8", "zero_point": 83}),
    ("kws01_mlperf_tiny/kws_ref_model_float32.tflite", {"macs": 2_656_768}),
    ("kws01_mlperf_tiny/kws_ref_model_savedmodel", {"format": "savedmodel", "macs": 2_656_768,
                                                    "in": [[None, 49, 10, 1]], "out": [[None, 12]]}),
    ("mnist/mnist_cntk_opset7.onnx", {"opset": 7, "format_version": "IR 3", "in": [[1, 1, 28, 28]],
                                      "parameters": 5994}),
    ("mnist/mnist_cntk_opset8.onnx", {"opset": 8, "format_version": "IR 3", "in": [[1, 1, 28, 28]],
                                      "parameters": 5994}),
    ("mnist/mnist_valid.h5", {"format": "keras", "parameters": 1786, "macs": 21_220}),
    ("mnist/mnist_valid_f.tflite", {"macs": 21_220}),
    ("mnist/mnist_valid_q.tflite", {"macs": 21_220, "weights": "int8", "zero_point": -128}),
    ("mnist/mnist_dw.h5", {"format": "keras", "macs": 56_768}),
    ("mnist/mnist_dw_f.tflite", {"macs": 56_768}),
    ("mnist/mnist_dw_q.tflite", {"macs": 56_768}),
    ("mnist/mnist_trained_lstm.tflite", {"macs": 113_120, "in": [[1, 28, 28]]}),
    ("mnist/mnist_trained_lstm_int8.tflite", {"macs": 113_120, "weights": "int8"}),
    ("mnist/MNIST.mlmodel", {"format": "coreml", "format_version": "specification 1", "in": [[1, 1, 28, 28]],
                             "type": "neuralNetworkClassifier"}),
    ("mobilenet_coral/mobilenet_v1_0.25_128_quant.tflite", {"weights": "uint8", "in": [[1, 128, 128, 3]]}),
    ("mobilenet_coral/mobilenet_v2_1.0_224_quant.tflite", {"weights": "uint8", "macs": 300_775_552}),
    ("mobilenet_coral/mobilenet_v1_0.25_128_quant_edgetpu.tflite", {"macs": None, "warning": "Edge TPU", "nodes": 1}),
    ("object_detection/FastestDet.onnx", {"opset": 16, "nodes": 218, "in": [[1, 3, 352, 352]], "out": [[1, 484, 85]]}),
    ("onnx_light_zoo/light_densenet121.onnx", {"nodes": 1746, "macs": 2_834_161_664, "parameters": 8_146_152}),
    ("onnx_light_zoo/light_resnet50.onnx", {"nodes": 415, "macs": 4_089_184_256, "parameters": 25_610_153}),
    ("pose_cpm/cpm_model.mlmodel", {"nodes": 757, "macs": 277_261_056, "in": [[1, 3, 192, 192]],
                                "out": [[14, 96, 96]]}),
    ("pose_cpm/cpm_model.pb", {"format": "graphdef", "operations": "1426", "in": [[1, 192, 192, 3]]}),
    ("pose_cpm/cpm_model.tflite", {"macs": 277_261_056, "in": [[1, 192, 192, 3]], "out": [[1, 96, 96, 14]]}),
    ("silero_vad/silero_vad.jit", {"format": "torchscript", "parameters": 545_282}),
    ("silero_vad/silero_vad.onnx", {"opset": 16, "parameters": 545_282, "subgraphs": 50}),
    ("silero_vad/silero_vad_half.onnx", {"format": "onnx"}),
    ("tflm_speech_hello/micro_speech_quantized.tflite", {"in": [[1, 1960]], "weights": "int8"}),
    ("tflm_speech_hello/hello_world_float.tflite", {"parameters": 321}),
    ("tflm_speech_hello/hello_world_int8.tflite", {"parameters": 321}),
    ("ultraface/version-RFB-320.onnx", {"opset": 9, "format_version": "IR 4", "in": [[1, 3, 240, 320]],
                                        "out": [[1, 4420, 2], [1, 4420, 4]]}),
    ("ultraface/version-RFB-320_without_postprocessing.onnx", {"nodes": 217, "macs": 100_418_560}),
    ("ultraface/version-RFB-320_without_postprocessing.tflite", {"in": [[None, 240, 320, 3]]}),
    ("waifu2x_coreml/photo_noise0_model.mlmodel", {"nodes": 13, "in": [[3, 142, 142]]}),
    ("bad/tflite/torchaudio_conformer.tflite", {"in": [[335, 10, 80], [10, 335]], "nodes": 138}),
]  # fmt: skip

# Readable, but with something to say: part of a warning.
WARNED = [
    ("bad/onnx/empty.onnx", "no operators"),
    ("bad/onnx/bad_graph_with_no_import_domains.onnx", "opset_import is missing"),
    ("bad/onnx/bad_graph_with_duplicate_node_names.onnx", "more than once"),
    ("bad/onnx/ext_weights.onnx", "ext_weights.data with 3 weights is missing"),
    ("bad/onnx/custom_op_node.onnx", "ai.onnx.contrib"),
    ("bad/onnx/unsorted.onnx", "shown sorted"),
    ("bad/onnx/superresolution_prepost_customops_op18.onnx", "com.microsoft.extensions"),
    ("bad/derived/onnx/future_opset999_ir99.onnx", "opset 999"),
    ("bad/derived/onnx/tflite_renamed.onnx", "the content is TFLite"),
    ("bad/tflite/custom_sinh.tflite", "Sinh"),
    ("bad/tflite/audio_preprocessor_int8_tflm_signal_ops.tflite", "SignalRfft"),
    ("bad/torch/state_dict_only_myFirstModel.pth", "no graph"),
    ("bad/coreml/merged_model_weights_missing.mlpackage", "weights/weight.bin is missing"),
    ("bad/savedmodel/half_plus_two_variables_data_missing", "values of the variables are missing"),
    ("bad/derived/keras/lambda_touches_marker.keras", "contains Python code"),
    ("bad/derived/keras/lambda_touches_marker.h5", "contains Python code"),
]
SILENT = [
    "bad/onnx/inp_dim_val_not_set.onnx", "bad/onnx/loop.onnx", "bad/onnx/onnxml_OneHotEncoder_26_inputs.onnx",
    "bad/tflite/string_input_model.tflite", "bad/tflite/dynamic_shapes.tflite", "bad/tflite/two_subgraphs.tflite",
]  # fmt: skip
REFUSED = [
    ("bad/onnx/git_lfs_pointer_Yolo.onnx", "Git LFS pointer"),
    ("bad/tflite/0_subgraphs.tflite", "holds no graph"),
    ("bad/tflite/no_subgraphs.tflite", "holds no graph"),
    ("bad/tflite/test_model_broken.tflite", "named like a TFLite model"),
    ("bad/tflite/invalid_model.tflite", "its content is text"),
    ("bad/torch/pickle_eval_print.pt", "calls builtins.eval"),
    ("bad/torch/png_magic_only.pt", "PNG picture"),
    ("bad/keras/not_keras.h5", "holds no Keras model"),
    ("bad/derived/onnx/truncated_60pct_nmp.onnx", "cut short"),
    ("bad/derived/tflite/truncated_60pct_kws.tflite", "cut short"),
    ("bad/derived/onnx/html_404.onnx", "web page"),
    ("bad/derived/onnx/zero_bytes.onnx", "empty"),
    ("bad/derived/tflite/zero_bytes.tflite", "empty"),
    ("bad/derived/onnx/external_data_path_traversal.onnx", "outside of its folder"),
    ("bad/derived/torch/zip_pickle_touches_marker.pt", "calls posix.system"),
]


@pytest.fixture(autouse=True)
def _no_code_was_run() -> Any:
    yield
    left = list(Path(tempfile.gettempdir()).glob("EDGESTUDIO_MARKER_*"))
    assert left == [], "opening a file ran its code"


@pytest.mark.parametrize(("path", "facts"), GOOD, ids=[path for path, _ in GOOD])
def test_facts_of_a_good_model(path: str, facts: dict[str, Any], models_root: Path) -> None:
    summary = inspect_file(models_root / path)
    json.dumps(summary)
    found = {
        **summary,
        "opset": summary["opsets"].get("ai.onnx"),
        "in": [value["shape"] for value in summary["inputs"]],
        "out": [value["shape"] for value in summary["outputs"]],
        "weights": next(iter(summary["weight_bytes"]), None),
        "zero_point": (summary["inputs"] or [{}])[0].get("zero_point"),
        "operations": summary["metadata"].get("operations"),
        "type": summary["metadata"].get("type"),
        "warning": next((text for text in summary["warnings"] if facts.get("warning", "\0") in text), None),
    }
    expected = {key: value for key, value in facts.items() if key != "warning"}
    assert {key: found[key] for key in expected} == expected
    assert ("warning" in facts) <= (found["warning"] is not None)
    assert summary["nodes"] == sum(summary["operators"].values())


def test_one_model_in_four_formats_has_one_set_of_figures(models_root: Path) -> None:
    found = {
        name: inspect_file(models_root / "basic_pitch" / name)
        for name in ("nmp.onnx", "nmp.tflite", "nmp.mlpackage", "nmp_savedmodel")
    }
    assert {each["macs"] for each in found.values()} == {524_079_648}
    # Core ML and TensorFlow keep vectors of batch normalisations that the others folded into convolutions.
    assert found["nmp.onnx"]["parameters"] == found["nmp.tflite"]["parameters"] == 35_736
    assert all(0 <= each["parameters"] - 35_736 <= 289 for each in found.values())
    assert {each["peak_activation_bytes"] for name, each in found.items() if name != "nmp.tflite"} == {
        5_993_856
    }
    for each in found.values():
        (given,) = each["inputs"]
        assert given["dtype"] == "float32"
        assert given["shape"][1:] == [43844, 1]
        assert sorted(value["shape"][1:] for value in each["outputs"]) == [[172, 88], [172, 88], [172, 264]]
        assert each["macs_unknown"] == {}
    assert {sum(count for op, count in each["operators"].items() if op.lower().startswith("conv"))
            for each in found.values()} == {32}  # fmt: skip


@pytest.mark.parametrize(("path", "warning"), WARNED, ids=[path for path, _ in WARNED])
def test_a_flawed_model_opens_with_a_warning(path: str, warning: str, models_root: Path) -> None:
    assert warning in "\n".join(inspect_file(models_root / path)["warnings"])


@pytest.mark.parametrize("path", SILENT)
def test_an_unusual_model_opens(path: str, models_root: Path) -> None:
    assert inspect_file(models_root / path)["warnings"] == []


@pytest.mark.parametrize(("path", "reason"), REFUSED, ids=[path for path, _ in REFUSED])
def test_a_bad_file_is_refused_in_a_sentence(path: str, reason: str, models_root: Path) -> None:
    with pytest.raises(ModelError) as caught:
        inspect_file(models_root / path)
    assert reason in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_every_file_of_the_index_is_covered(models_root: Path) -> None:
    covered = {path for path, *_ in (*GOOD, *WARNED, *REFUSED)} | set(SILENT)
    suffixes = {".onnx", ".tflite", ".mlmodel", ".mlpackage", ".keras", ".h5", ".pt", ".pth", ".jit"}
    present = {
        str(path.relative_to(models_root))
        for path in models_root.rglob("*")
        if path.suffix in suffixes and not any(parent.suffix == ".mlpackage" for parent in path.parents)
    }
    assert present - covered == set()


@pytest.mark.parametrize(
    "path",
    ["onnx_light_zoo/light_densenet121.onnx", "silero_vad/silero_vad.jit", "basic_pitch/nmp.mlpackage"],
)
def test_the_job_writes_graph_and_layout(path: str, tmp_path: Path, models_root: Path) -> None:
    result = inspect_job({"path": str(models_root / path), "layout": True}, tmp_path, Silent())
    model = graphs.load(Path(result["graph"]))
    assert len(model.main.nodes) == result["summary"]["nodes"]
    assert Path(result["layout"]).is_file()
    assert len(result["sha256"]) == 64
