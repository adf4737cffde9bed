"""What is acceptable, as pure functions: they parse what was asked for, or refuse it with a sentence that helps."""
