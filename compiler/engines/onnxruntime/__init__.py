"""ONNX Runtime: sessions, generation and placement, which its engines share; `cpu`, `cuda`, `tensorrt` are engines.

They differ in their `Provider`.
"""
