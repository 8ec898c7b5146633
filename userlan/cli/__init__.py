"""The command line: what people type, what they are told, and the processes in which nodes, mediators and relays run.

Theory of operation
===================

Goals: a command answers in a tenth of a second; a failure is one line that says what and what to do; each listing is there for programs,
too (``--json``, stable keys).

::

    userlan WORD … ── main ──▶ WORD's module ──┬─▶ client ── control socket of the state folder ──▶ the node   nearly all commands
                                               ├─▶ background: a node is started first where none runs          create, join, open, run …
                                               └─▶ up_commands: this process becomes the program                up, mediator, relay

``main`` has the group, its global options, and the only table from a word to its module, which is imported when the word is typed. A
command is a short-lived client: it sends one request through the local API's socket, prints, and exits. It begins without Twisted and
cryptography; what needs them imports them where it is needed. What is said by others (names, messages, files) is made printable first.

Exit status: 0 done; 1 failed, with one line on standard error; 2 wrong usage; 130 interrupted. A command raises ``client.ApiError`` or
click's own errors, and ``main`` alone turns them into lines and statuses. ``run`` ends with the status of its program.

A running node is ``userlan.app``'s; here stand the process around it (``up_commands``: the reactor, the log, signals, the limit of open
files), and the two programs that only the command line starts. This is the only package that names the global reactor: in ``up_commands``
and, for a measurement without a node, in ``netcheck_program``.

Modules
-------
What all commands share::

    main             words, global options, exit statuses       client           requests to the node; whether there is one
    background       a node that is started for a command        output           JSON, tables, colours, printable text
    configuration    the file, with the bridges' sections        links            links that are passed, and what is wrong with one
    completing       what the shell completes, by click's machinery and by asking the node

Programs in the foreground::

    up_commands ──▶ app.program (up), mediator_program, relay_program

Commands, by what they are for::

    manage, owner, page                  networks, members, names; the page in the browser
    show, watch_view, path, netcheck     status, ping, proxy; the status as it changes; how a peer is reached; what the router does
      netcheck_program                   … measured without a node
    doctor_commands, doctor/             what is wrong, by rules over what was looked at (a package with a page of its own)
    reach, service, share, dns, guest    expose, forward, nc; what members offer; discovery; names; computers without userlan
    chat (_talk, _text), file (_progress)   talk; send and receive
    run, keeper, companion               programs inside the LAN: their place, who keeps it, a member of their own
    tap, capture (_text)                 the computer in the LAN; its packets
    service_install, _managers, _units, link_handler    start at login; links that are clicked on
    configuration_commands, completion   ``config check``; the shell's script
    demo (_processes, _meeting, _transfer, _discovery, _game, _talk)    all of it before one's eyes, with real processes

(``manage`` is ``manage_commands``, and so on; ``service`` that lists and ``service_install`` that installs are two.)

Limits: of an answer ``client.MAX_LINE``; a node must take a connection within ``CONNECT_TIMEOUT``, end within ``STOP_PATIENCE``, and
begin within ``background.START_TIMEOUT``.
"""
