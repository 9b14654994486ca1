"""Graphs of a codec for other runtimes: ONNX, and torch.export packages."""
