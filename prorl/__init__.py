"""ProRL: proactive recommendation, from raw interaction logs to a policy that guides users towards a target
item.
"""
