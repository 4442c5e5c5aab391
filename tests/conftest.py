"""Fixtures of all tests."""

import os

from hypothesis import settings

# Read when the functions are imported, as Lambda has it before they are.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tests")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Customers")
os.environ["VALIDATE_REQUESTS"] = "true"

# The same examples in every run, so that none fails by chance; `make soak` draws others.
settings.register_profile("tests", derandomize="FAULTS_LONG" not in os.environ)
settings.load_profile("tests")

pytest_plugins = [
    "tests.guards",
    "tests.dynamo",
    "tests.functions.shop",
    "tests.telling",
    "tests.stacks",
]
