"""The servers' end of host links: who is linked, and how to ask it something. Decides nothing."""
