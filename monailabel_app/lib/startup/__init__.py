"""From the command line to a running server: settings, studies, sockets, log, start message."""
