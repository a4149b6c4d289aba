"""Benchmarks: what is measured, and how to measure it again; results stand in docs/benchmarks.md."""
