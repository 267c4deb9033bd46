"""The client of the intelligence API: what is sent, how, and what the answers mean.

`wire` builds bodies, `answers` and `health` read what comes back; both are pure
and import no HTTP library.  `transport` does the talking.
"""
