"""Domains, accounts, users, roles, projects, their limits, and what is tied to any row: tags and details."""
