"""The console's bucket, distribution and login, and how a build gets there."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from customers_cli.console import advice, publish
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


# -- a build gets there ----------------------------------------------------------------------------


@dataclass
class FakeS3:
    """A bucket that remembers what was put, in order."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put_object(self, *, Bucket: str, Key: str, **of: Any) -> None:  # noqa: N803
        assert Bucket == "console"
        self.objects[Key] = of


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    for name in ("index.html", "favicon.svg", "robots.txt", "assets/app-1.js", "assets/app-1.css"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
        file.with_name(f"{file.name}.gz").write_text("for the local run")
    (tmp_path / "assets" / "inter-1.woff2").write_bytes(b"font")
    return tmp_path


def test_a_build_is_put_with_types_and_the_page_that_names_the_rest_comes_last(dist: Path) -> None:
    s3 = FakeS3()
    keys = publish(s3, "console", '{"issuer": "https://login.example"}', dist)
    assert list(s3.objects) == keys
    assert set(keys[:3]) == {"assets/app-1.js", "assets/app-1.css", "assets/inter-1.woff2"}
    assert keys[-1] == "index.html"
    assert not any(key.endswith(".gz") for key in keys)
    types = {key: of["ContentType"] for key, of in s3.objects.items()}
    assert types["assets/app-1.js"] == "text/javascript; charset=utf-8"
    assert types["assets/inter-1.woff2"] == "font/woff2"
    assert types["index.html"] == "text/html; charset=utf-8"
    assert s3.objects["config.json"]["Body"] == b'{"issuer": "https://login.example"}'
    assert s3.objects["assets/inter-1.woff2"]["Body"] == b"font"


def test_only_files_named_by_their_content_are_kept_by_browsers(dist: Path) -> None:
    s3 = FakeS3()
    publish(s3, "console", "{}", dist)
    for key, of in s3.objects.items():
        lasting = "public, max-age=31536000, immutable"
        assert of["CacheControl"] == (lasting if key.startswith("assets/") else "no-cache")


def test_files_of_the_build_before_stay_for_pages_that_are_open(dist: Path) -> None:
    s3 = FakeS3()
    publish(s3, "console", "{}", dist)
    (dist / "assets" / "app-1.js").rename(dist / "assets" / "app-2.js")
    publish(s3, "console", "{}", dist)
    assert {"assets/app-1.js", "assets/app-2.js"} <= set(s3.objects)


def test_what_is_not_built_or_of_no_known_type_is_not_put(dist: Path) -> None:
    s3 = FakeS3()
    (dist / "notes.docx").write_text("?")
    with pytest.raises(ValueError, match=r"notes\.docx"):
        publish(s3, "console", "{}", dist)
    (dist / "index.html").unlink()
    with pytest.raises(FileNotFoundError, match="make console"):
        publish(s3, "console", "{}", dist)
    assert s3.objects == {}


def test_it_is_told_when_the_login_does_not_know_the_address() -> None:
    url = "https://d111.cloudfront.net"
    assert advice({"ConsoleUrl": url, "ConsoleOrigin": url}) is None
    left = advice({"ConsoleUrl": url, "ConsoleOrigin": "http://localhost:8080"})
    assert left is not None
    assert left.endswith(f"sam deploy --parameter-overrides ConsoleOrigin={url}")
