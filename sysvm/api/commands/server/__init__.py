"""The management server itself: its commands, jobs, settings, authority, events, alerts, figures and usage."""
