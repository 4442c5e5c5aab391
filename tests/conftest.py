"""Fixtures of all tests."""

import os

# Read when the functions are imported, as Lambda has it before they are.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tests")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Customers")
os.environ["VALIDATE_REQUESTS"] = "true"

pytest_plugins = [
    "tests.guards",
    "tests.dynamo",
    "tests.functions.shop",
    "tests.telling",
    "tests.stacks",
]
