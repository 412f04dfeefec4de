"""Weights as safetensors, each with its model card."""
