"""Offerings: what administrators let their tenants choose from."""
