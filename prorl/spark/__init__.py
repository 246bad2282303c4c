"""Preparing and mining on Apache Spark: the kernels of `datasets` and `paths`, one part of the log at a time."""
