"""Models in files that other runtimes compute: LiteRT and ONNX."""
