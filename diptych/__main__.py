"""Run the command line as `python -m diptych`."""

from diptych.cli import main

main()
