"""Kernels of the lab: one file per operation, each with torch reference, Triton kernel and dispatch.

Triton is imported only inside this package and only when a kernel is first launched, so that everything else
runs where Triton does not exist (macOS, Windows, a CPU-only Linux).
"""
