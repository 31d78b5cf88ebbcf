"""The CUDA and TensorRT engines on a real GPU: parity, speed beside PyTorch, and what of TensorRT runs there."""
