"""``make checkov``: checkov's rules on template.yaml as CloudFormation gets it.

The SAM template itself shows checkov little: functions and API exist only once it is expanded. What
is suppressed is suppressed here, each with its reason; one that nothing needs any more fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.template.expanded import resources

SUPPRESSED = {
    "CKV_AWS_115": "no reserved concurrency: it would take from the account's other functions",
    "CKV_AWS_116": "synchronous functions (API, webhook) have no dead letters; the two asynchronous"
    " ones have an OnFailure destination, a third has them in its queue; checkov looks for neither",
    "CKV_AWS_117": "no VPC: nothing they speak to is in one; Stripe and Telegram are outside",
    "CKV_AWS_119": "tables are encrypted with AWS's key; an own one adds cost, and no reader less",
    "CKV_AWS_149": "secrets are encrypted with AWS's key; IAM decides who reads them",
    "CKV_AWS_158": "log groups are encrypted with AWS's key, and hold no personal data",
    "CKV_AWS_173": "environment variables hold names and ARNs, no secrets",
    "CKV_AWS_174": "an own domain is served over TLS 1.2 or newer (a condition, which the rule does"
    " not read); with CloudFront's own name nobody can choose",
    "CKV_AWS_18": "the bucket is read by the distribution only, and holds nothing personal",
    "CKV_AWS_21": "what is in the bucket is built anew at any time",
    "CKV_AWS_26": "alarms hold no data, and CloudWatch can't publish to a topic with AWS's own key",
    "CKV_AWS_27": "queues are encrypted with SQS's own key, which the rule does not count",
    "CKV_AWS_68": "a WAF is the deployment's own choice: docs/security.md",
    "CKV_AWS_86": "the distribution's log would hold searches, and with them names and e-mails",
    "CKV_AWS_28": "the index is made anew from the records, so it needs no backup",
}

_OPTIONS = ("--framework", "cloudformation", "-o", "json", "--compact", "--quiet")


def main() -> int:
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources()}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "template.json"
        file.write_text(json.dumps(template, indent=1))
        ran = subprocess.run(
            [sys.argv[1], "-f", str(file), *_OPTIONS, "--skip-download"],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        report = json.loads(ran.stdout)
    except ValueError:
        print(ran.stdout, ran.stderr, file=sys.stderr)
        return 2
    failed = report["results"]["failed_checks"]
    found = {check["check_id"] for check in failed}
    open_ = [check for check in failed if check["check_id"] not in SUPPRESSED]
    for check in open_:
        print(f"{check['check_id']} {check['resource']}: {check['check_name']}")
    for needless in sorted(SUPPRESSED.keys() - found):
        print(f"{needless} is suppressed, and nothing needs it")
    summary = report["summary"]
    print(f"{summary['passed']} passed, {len(failed) - len(open_)} suppressed, {len(open_)} failed")
    return 1 if open_ or SUPPRESSED.keys() - found else 0


if __name__ == "__main__":
    sys.exit(main())
