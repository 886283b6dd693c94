"""Commands of the command line, without its options: one file a command."""
