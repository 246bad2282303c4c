"""A released policy as a service: requests in batches, what was shown in a log, and a page for people."""
