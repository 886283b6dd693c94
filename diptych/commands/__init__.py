"""The commands without their command-line options; each module holds one of them."""
