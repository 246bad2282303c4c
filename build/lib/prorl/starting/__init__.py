"""A data set of one's own, from two files to settings in params.yaml."""
