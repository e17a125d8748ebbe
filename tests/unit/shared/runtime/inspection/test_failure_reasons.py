"""What onnxruntime says is cleaned of its own source, in one place for inference and for trials."""

from __future__ import annotations

import pytest

from shared.runtime.inspection.failure_reasons import reason_of

CODE = "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running"
SOURCE = "/onnxruntime_src/core/reshape_helper.h:45 onnxruntime::Helper::Helper(const onnxruntime::Shape&, bool) const"
OPSETS = (
    "/onnxruntime_src/core/graph/model_load_utils.h:46 void onnxruntime::model_load_utils::ValidateOpsetForDomain("
    "const std::unordered_map<std::__cxx11::basic_string<char>, int>&, const onnxruntime::logging::Logger&, bool)"
)
LOCALE = "/onnxruntime_src/core/string_normalizer.cc:235 onnxruntime::Locale::Locale(const std::string&)"
NESTED = (
    "/onnxruntime_src/core/op_kernel.cc:87 virtual OrtValue* onnxruntime::OpKernelContext::OutputMLValue(int, "
    "const onnxruntime::TensorShape&) [ONNXRuntimeError] : 1 : FAIL : tensor.cc:57 CalculateTensorStorageSize"
)

INVALID = (
    '[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is an invalid model. In Node, ("", Gelu, "", -1) : ("x": '
    'tensor(float),) -> ("y": tensor(float),) , Error No Op registered for Gelu with domain_version of 17'
)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            f"{CODE} Gather node. Name:'/a/b/Gather' Status Message: indices element out of data bounds, idx=99",
            "Gather: indices element out of data bounds, idx=99",
        ),
        (
            f"{CODE} Reshape node. Name:'' Status Message: {SOURCE} size == 1 was false.\n Input shape:{{1,3}}\n",
            "Reshape: Input shape:{1,3}",
        ),
        (f"{CODE} Cast node. Name:'' Status Message: stod", "Cast: a text is no number"),
        (
            f"{CODE} Div node. Name:'' Status Message: element_wise_ops.cc:703 Compute Integer division by zero",
            "Div: Integer division by zero",
        ),
        (
            f"{CODE} ConstantOfShape node. Name:'' Status Message: {NESTED} Tensor shape.Size() must be >= 0",
            "ConstantOfShape: Tensor shape.Size() must be >= 0",
        ),
        (f"[ONNXRuntimeError] : 1 : FAIL : {OPSETS} Opset 99 is too new.", "Opset 99 is too new."),
        (
            f"[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: {LOCALE}::<lambda()> No locale",
            "No locale",
        ),
        ("[ONNXRuntimeError] : 1 : FAIL : Load /home/someone/models/x.onnx failed", "Load ... failed"),
        ("Node (a/b) Op (Conv) Kernel is 3 (of 2).", "Node (a/b) Op (Conv) Kernel is 3 (of 2)."),
        (
            INVALID,
            "There is no operator Gelu in opset 17 of ai.onnx. If a later opset has it, export with that one",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Fatal error: com.microsoft:Foo(-1) is not a registered function/op",
            "There is no operator Foo of com.microsoft here",
        ),
        ("something else", "something else"),
    ],
)  # fmt: skip
def test_reasons_are_fit_to_be_told(said: str, reason: str) -> None:
    assert reason_of(RuntimeError(said)) == reason
    assert reason_of(said) == reason


def test_a_long_reason_ends_with_a_word() -> None:
    reason = reason_of("word " * 200)
    assert reason.endswith("word ...")
    assert len(reason) <= 400
