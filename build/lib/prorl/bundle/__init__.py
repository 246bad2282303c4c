"""A released policy: one folder that guides users, and what loads it."""
