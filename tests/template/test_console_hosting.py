"""The console's bucket, distribution and login."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from local.front import PAGE_HEADERS
from tests.template.expanded import ROOT, TEMPLATE, of_type, properties, resources

# AWS's managed policies:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-origin-request-policies.html
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"


def distribution() -> dict[str, Any]:
    found: dict[str, Any] = properties("ConsoleDistribution")["DistributionConfig"]
    return found


# -- bucket ----------------------------------------------------------------------------------------


def test_the_bucket_is_closed_to_everybody_but_the_distribution() -> None:
    bucket = properties("ConsoleBucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert "WebsiteConfiguration" not in bucket
    allowed, denied = properties("ConsoleBucketPolicy")["PolicyDocument"]["Statement"]
    assert (allowed["Effect"], allowed["Action"]) == ("Allow", "s3:GetObject")
    assert allowed["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    arn = allowed["Condition"]["StringEquals"]["aws:SourceArn"]["Fn::Sub"]
    assert arn.endswith("::${AWS::AccountId}:distribution/${ConsoleDistribution}")
    assert denied["Effect"] == "Deny"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_distribution_signs_what_it_asks_the_bucket() -> None:
    (files,) = [one for one in distribution()["Origins"] if one["Id"] == "files"]
    assert files["OriginAccessControlId"] == {"Fn::GetAtt": ["ConsoleAccess", "Id"]}
    assert files["S3OriginConfig"] == {"OriginAccessIdentity": ""}
    access = properties("ConsoleAccess")["OriginAccessControlConfig"]
    assert (access["SigningBehavior"], access["SigningProtocol"]) == ("always", "sigv4")


# -- distribution ----------------------------------------------------------------------------------


def test_the_api_is_under_the_same_origin_uncached_and_complete() -> None:
    (behaviour,) = distribution()["CacheBehaviors"]
    assert behaviour["PathPattern"] == "/v1/*"
    assert behaviour["CachePolicyId"] == CACHING_DISABLED
    assert behaviour["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST_HEADER
    assert set(behaviour["AllowedMethods"]) == {
        *("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE")
    }
    assert behaviour["ViewerProtocolPolicy"] == "https-only"
    (api,) = [one for one in distribution()["Origins"] if one["Id"] == behaviour["TargetOriginId"]]
    assert api["DomainName"]["Fn::Sub"].startswith("${Api}.execute-api.")
    assert api["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"


def test_files_are_compressed_and_cached_as_they_say() -> None:
    behaviour = distribution()["DefaultCacheBehavior"]
    assert behaviour["TargetOriginId"] == "files"
    assert behaviour["CachePolicyId"] == CACHING_OPTIMIZED
    assert behaviour["Compress"] is True
    assert behaviour["ViewerProtocolPolicy"] == "redirect-to-https"
    assert behaviour["ResponseHeadersPolicyId"] == {"Ref": "ConsoleHeaders"}


def test_an_own_domain_is_served_over_tls_1_2_or_newer() -> None:
    condition, own, _ = distribution()["ViewerCertificate"]["Fn::If"]
    assert condition == "HasCertificate"
    assert own["MinimumProtocolVersion"] == "TLSv1.2_2021"


def test_pages_carry_the_policies_that_the_local_run_sends_too() -> None:
    headers = properties("ConsoleHeaders")["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    assert all(header["Override"] is True for header in headers.values())
    policy, _ = headers["ContentSecurityPolicy"]["ContentSecurityPolicy"]["Fn::Sub"]
    assert policy.replace(" ${Login};", ";") == PAGE_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert headers["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31536000
    assert headers["FrameOptions"]["FrameOption"] == "DENY"
    assert headers["ReferrerPolicy"]["ReferrerPolicy"] == PAGE_HEADERS["Referrer-Policy"]
    assert "ContentTypeOptions" in headers


# -- the console's own addresses -------------------------------------------------------------------


def asked_of_the_bucket(*addresses: str) -> list[str]:
    """What the CloudFront function makes of addresses."""
    node = shutil.which("node")
    assert node is not None
    code = properties("ConsolePages")["FunctionCode"]
    call = f"""
        const asked = {json.dumps(addresses)}.map((uri) => handler({{ request: {{ uri }} }}).uri);
        console.log(JSON.stringify(asked));
    """
    ran = subprocess.run(
        [node, "--input-type=module", "-e", code + call],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers: list[str] = json.loads(ran.stdout)
    return answers


def test_every_address_of_the_console_is_its_one_page_and_every_file_itself() -> None:
    public = [f"/{file.name}" for file in (ROOT / "console" / "public").iterdir()]
    files = ["/config.json", "/assets/app-1.js", *public]
    pages = ["/", "/customers/cust_1", "/login/callback", "/no/such.page", "/index.html"]
    assert asked_of_the_bucket(*files, *pages) == [*files, *["/index.html"] * len(pages)]


# -- login -----------------------------------------------------------------------------------------


def test_the_login_is_made_only_where_no_issuer_is_given() -> None:
    ours = {
        name
        for name, resource in resources().items()
        if resource["Type"].startswith("AWS::Cognito::") or name.startswith("ConsoleLogin")
    }
    assert len(ours) >= 8
    assert {resources()[name].get("Condition") for name in ours} == {"HasUserPool"}
    conditions = yaml_parse(TEMPLATE.read_text())["Conditions"]
    assert conditions["HasUserPool"] == {"Fn::Equals": [{"Ref": "JwtIssuer"}, ""]}


def test_only_administrators_make_owners_and_nobody_deletes_them_by_mistake() -> None:
    pool = resources()["UserPool"]
    assert pool["DeletionPolicy"] == pool["UpdateReplacePolicy"] == "Retain"
    assert pool["Properties"]["DeletionProtection"] == "ACTIVE"
    assert pool["Properties"]["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert pool["Properties"]["MfaConfiguration"] == "OPTIONAL"


def test_the_console_logs_in_by_code_without_a_secret_and_can_change_no_user() -> None:
    client = properties("UserPoolClient")
    assert client["GenerateSecret"] is False
    assert client["AllowedOAuthFlows"] == ["code"]
    # aws.cognito.signin.user.admin would let a token change its user's attributes.
    assert client["AllowedOAuthScopes"] == ["openid"]
    assert "custom:store_id" not in client["WriteAttributes"]
    assert client["CallbackURLs"] == [{"Fn::Sub": "${ConsoleOrigin}/login/callback"}]
    assert client["ExplicitAuthFlows"] == ["ALLOW_REFRESH_TOKEN_AUTH"]


def test_the_store_is_put_into_access_tokens() -> None:
    trigger = properties("UserPool")["LambdaConfig"]["PreTokenGenerationConfig"]
    assert trigger == {
        "LambdaArn": {"Fn::GetAtt": ["ConsoleLoginFunction", "Arn"]},
        "LambdaVersion": "V2_0",
    }
    (schema,) = properties("UserPool")["Schema"]
    assert schema["Name"] == "store_id"
    callers = [
        permission["Properties"]["SourceArn"]
        for permission in of_type("AWS::Lambda::Permission").values()
        if permission["Properties"]["Principal"] == "cognito-idp.amazonaws.com"
    ]
    assert callers == [{"Fn::GetAtt": ["UserPool", "Arn"]}]


def test_the_consoles_configuration_is_json() -> None:
    text, values = yaml_parse(TEMPLATE.read_text())["Outputs"]["ConsoleConfig"]["Value"]["Fn::Sub"]
    assert set(values) == {"Issuer", "Client"}
    assert set(json.loads(text)) == {"issuer", "client_id", "store_claim"}
