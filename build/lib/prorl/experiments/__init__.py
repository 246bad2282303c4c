"""Experiments: tables of runs that differ in a few parameters, run as DVC experiments and compared prompt by
prompt.
"""
