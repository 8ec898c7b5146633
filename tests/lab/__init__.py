"""Real processes in network namespaces.

Works as root, and as an unprivileged user where user namespaces are allowed: then one user namespace holds all network
namespaces. ``ip netns add`` is not used (it needs a mount that a user namespace may not make): a namespace is a sleeping process,
entered with ``nsenter``.
"""
