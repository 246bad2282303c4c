"""Preparing and mining on Apache Spark: the kernels of `datasets` and `paths`, part by part of a log."""
