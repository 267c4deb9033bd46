"""From what a tool call did to a file, to the pattern before and the pattern after.

Pure: nothing here reads a file, a clock or a setting. Whether a pattern was created, modified
or applied, and which version it has, depends on what the ledger knows and is decided elsewhere.
"""
