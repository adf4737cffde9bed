"""What each system VM should be, and the next step towards it. Pure: nothing here awaits, reads a clock or a database."""
