"""Signature Version 4 against the vectors that AWS has published: its general test suite, and the examples of S3's manual."""

import pytest

from sysvm.agent.roles.secstorage.sigv4 import NOTHING, Credentials, Request, authorization, encoded, query_of, stamp

GENERAL = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service")
S3 = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
SUITE_DAY, MANUAL_DAY = "20150830T123600Z", "20130524T000000Z"

SUITE = {
    "get-vanilla": (("GET", "/", ()), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "post-vanilla": (("POST", "/", ()), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "get-vanilla-query-order-key-case": (
        ("GET", "/", (("Param2", "value2"), ("Param1", "value1"))),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-utf8": (("GET", "/\u1234", ()), "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    "get-unreserved": (
        ("GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", ()),
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
}


@pytest.mark.parametrize("name", SUITE)
def test_the_general_suite(name: str) -> None:
    (method, path, query), signature = SUITE[name]
    headers = {"Host": "example.amazonaws.com", "X-Amz-Date": SUITE_DAY}
    request = Request(method, encoded(path, path=True), query, headers, NOTHING)
    found = authorization(GENERAL, request, SUITE_DAY)
    assert found == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )


MANUAL = {
    "GET object": (
        ("GET", "/test.txt", (), {"Range": "bytes=0-9"}, NOTHING),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "PUT object": (
        (
            "PUT", "/test$file.text", (),
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        ),
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "GET bucket lifecycle": (
        ("GET", "/", (("lifecycle", ""),), {}, NOTHING),
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list objects": (
        ("GET", "/", (("max-keys", "2"), ("prefix", "J")), {}, NOTHING),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MANUAL)
def test_the_manual_of_s3(name: str) -> None:
    (method, path, query, more, payload), signature = MANUAL[name]
    headers = {
        "Host": "examplebucket.s3.amazonaws.com", "x-amz-date": MANUAL_DAY, "x-amz-content-sha256": payload, **more,
    }  # fmt: skip
    found = authorization(S3, Request(method, encoded(path, path=True), query, headers, payload), MANUAL_DAY)
    assert found.rpartition("Signature=")[2] == signature


def test_a_day_and_a_query_are_written_as_s3_reads_them() -> None:
    assert stamp(1369353600.9) == MANUAL_DAY
    assert query_of((("b", "a b+c/~"), ("a", ""))) == "a=&b=a%20b%2Bc%2F~"
