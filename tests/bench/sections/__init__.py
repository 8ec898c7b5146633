"""What is measured, one file a section.

``bulk``, ``udp`` and ``small`` take a system that is up on the plain wire; ``links`` and ``scale`` make stages of their own;
``chatty`` and ``company`` are on the loopback.
"""
