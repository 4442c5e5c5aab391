"""Records, references, the index: everything kept in DynamoDB. Nothing else imports botocore
but the schedules and the secrets beside it."""
