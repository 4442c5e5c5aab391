"""The in-memory DynamoDB as botocore's client shows a database."""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.session
from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ClientError, ParamValidationError

from tests import outgoing
from tests.memory_dynamo.database import MemoryDynamo


class MemoryClient:
    """Validates requests as botocore does, and raises its errors.

    The fault suites use :class:`MemoryDynamo` itself: all of their requests go through
    :mod:`tests.guards`, which validates them too.
    """

    def __init__(self, database: MemoryDynamo) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._database, name)

        def call(**request: Any) -> Any:
            problem = outgoing.aws_problem("dynamodb", name, request)
            if problem is not None:
                raise ParamValidationError(report=problem)
            try:
                answer = operation(**request)
            except ClientError as error:
                raise _as_botocore_has_it(error, name) from None
            return {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}

        return call


@cache
def _classes() -> Any:
    model = botocore.session.get_session().get_service_model("dynamodb")
    return ClientExceptionsFactory().create_client_exceptions(model)


def _as_botocore_has_it(error: ClientError, method: str) -> ClientError:
    """The error with its operation's name, in the class its code has."""
    operation = "".join(word.capitalize() for word in method.split("_"))
    response = {**error.response, "ResponseMetadata": {"HTTPStatusCode": 400}}
    made: ClientError = _classes().from_code(response["Error"]["Code"])(response, operation)
    return made
