"""The background process that drains the spool and delivers what the ledger owes."""
