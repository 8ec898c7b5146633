"""The command line: what people type, and the composition of a running node.

Theory of operation: ``userlan up`` and ``userlan mediator`` run in the foreground and hold a state folder; every other command
is a short-lived client that talks to the running node through the local API's socket in the state folder, prints, and
exits. A client starts without Twisted or cryptography, so that ``userlan status`` answers in a tenth of a second.

Exit status: 0 done; 1 failed, with one line on standard error that says what and what to do; 2 wrong usage.

``program`` composes a node from its parts and ``mediator_program`` a mediator, both are ``foreground`` programs; ``api`` gives the node's
commands to the local API, the ``*_commands`` modules are what people type. This is the only package that names the global reactor.
"""
