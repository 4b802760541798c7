"""How the small ONNX networks of a call are run."""

from __future__ import annotations

import onnxruntime

__all__ = ["one_thread"]


def one_thread(content: bytes) -> onnxruntime.InferenceSession:
    """A session on the processor that takes one thread, since every core answers calls.

    Args:
        content: the network, as ONNX.

    Raises:
        Exception: ONNX Runtime cannot load it; it has a class of error for each fault.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is raised
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
