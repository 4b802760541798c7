"""How the small ONNX networks of a call are run."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from ivr.errors import ModelError

__all__ = ["load_network", "one_thread"]


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


def load_network(file: Path, *, otherwise: str) -> onnxruntime.InferenceSession:
    """A session of a network that somebody may have put there.

    Args:
        file: the network, as ONNX.
        otherwise: what helps where it cannot be had again, for the message.

    Raises:
        ModelError: the file cannot be read, or ONNX Runtime cannot load it.
    """
    try:
        return one_thread(file.read_bytes())
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    except Exception as error:  # ONNX Runtime has a class of error for each fault
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise ModelError(
            f"{file} is no network that ONNX Runtime can load ({first}); get it again, or "
            f"{otherwise}"
        ) from error
