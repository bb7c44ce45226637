"""The parts of the speed benchmark: what is timed, and what needs a process of its own."""
