"""What is asked of the tables, a module per noun. Functions take a transaction first and do nothing else than speak with it."""
