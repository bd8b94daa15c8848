"""The command line: a file a command, spelling and complaints."""
