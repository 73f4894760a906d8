"""What ignite-threenet costs, measured side by side with the least that it could cost.

``python -m benchmarks`` measures; ``python -m benchmarks --help`` says what, and how to choose.
Only figures of one measurement compare: its contenders take turns, so that whatever else the
machine does slows all of them alike.
"""
