"""What all tests share: examples of `hypothesis` are the same in each run, and no clock of a busy machine judges them."""

from hypothesis import HealthCheck, settings

settings.register_profile("sysvm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sysvm")
