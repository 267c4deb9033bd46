"""The reference intelligence API: HTTP contract, store and lineage, served from SQLite."""
