"""State machines that decide whether, when and how much to send.

Everything in here is pure: values in, new values out.  The time (`now`, seconds
since the Unix epoch) and the randomness are parameters; nothing reads a clock,
touches a file or awaits.  State is JSON in the ledger, read afresh by every
pass, so any of it may be minutes or days old, from a process that was killed,
or from before the clock was set.
"""
