"""A bucket of an S3 server, spoken to with Python's own HTTP client: the dozen requests that an image store needs.

Addresses are path-style (`/bucket/key`), which all servers understand. Every body is signed by its SHA-256, so the server refuses
what the line has changed. A server that does not answer, or is busy, is asked again a few times. Calls block: callers use a
thread.
Not here: which keys mean what (`bucket.py`), sessions, roles and regions of others. Races thought of: a request that was carried
out and whose answer was lost is made again, so all of them may be made twice: an upload whose completion was lost is looked for.
"""

import errno
import http.client
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from urllib.parse import urlsplit
from xml.etree import ElementTree

from sysvm.agent.roles.secstorage import sigv4
from sysvm.agent.roles.secstorage.sigv4 import Credentials
from sysvm.wire.documents import Bucket

SILENCE_S = 60.0
PAUSES_S = (0.5, 2.0, 5.0)
MAX_ANSWER = 16 * 1024 * 1024
AGAIN = (500, 502, 503, 504)
META = "x-amz-meta-sha256"
Query = tuple[tuple[str, str], ...]


class BucketFailed(OSError):
    """The server refuses, or does not answer. An OSError, as of a disk: who writes to a store knows what to do with it."""

    def __init__(self, why: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(errno.EIO, why)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of an object without reading it."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An object, or an upload of many parts that has not been completed."""

    key: str
    since: float
    upload: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries. It may have to be sent twice, so its pieces can be had twice."""

    length: int
    sha256: str
    pieces: Callable[[], Iterable[bytes]]

    @classmethod
    def of(cls, data: bytes) -> "Body":
        """Of bytes in memory."""
        return cls(len(data), sha256(data).hexdigest(), lambda: (data,))


NOTHING = Body.of(b"")


class S3:
    """See the module."""

    def __init__(self, bucket: Bucket, now: Callable[[], float], *, silence_s: float = SILENCE_S) -> None:
        self._bucket = bucket
        self._who = Credentials(bucket.access_key, bucket.secret_key, bucket.region)
        self._now = now
        self._silence_s = silence_s

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """The public authorities, or the one that vouches for this server alone."""
        try:
            return ssl.create_default_context(cadata=self._bucket.ca or None)
        except (ssl.SSLError, ValueError) as error:
            raise BucketFailed(f"the bucket's CA certificate cannot be read: {error}") from error

    # ------------------------------------------------------------ objects
    def look(self) -> None:
        """Raises BucketFailed, after one try, when the bucket is not to be used. Listing shows that the key is good, too."""
        self._once("GET", "", (("list-type", "2"), ("max-keys", "1")), NOTHING, {}).close()

    def head(self, key: str) -> Head | None:
        """None: there is no such object."""
        try:
            with self._ask("HEAD", key) as answer:
                return Head(int(answer.headers["Content-Length"] or 0), answer.headers.get(META, ""))
        except BucketFailed as error:
            if error.status == 404:
                return None
            raise

    def get(self, key: str) -> bytes | None:
        """A small object's bytes."""
        try:
            with self._ask("GET", key) as answer:
                return answer.read(MAX_ANSWER)
        except BucketFailed as error:
            if error.status == 404 and error.code != "NoSuchBucket":
                return None
            raise

    def stream(self, key: str, start: int) -> http.client.HTTPResponse:
        """An object's bytes from `start` on."""
        return self._ask("GET", key, headers={"Range": f"bytes={start}-"})

    def put(self, key: str, data: bytes, digest: str = "") -> None:
        """The object has these bytes afterwards."""
        self._ask("PUT", key, body=Body.of(data), headers={META: digest} if digest else {}).close()

    def delete(self, key: str) -> None:
        """There is no such object afterwards."""
        self._ask("DELETE", key).close()

    def entries(self, prefix: str, most: int = 1000) -> Iterator[Entry]:
        """Objects whose keys begin so, in order, `most` in one answer."""
        more: Query = ()
        while True:
            query: Query = (("list-type", "2"), ("prefix", prefix), ("max-keys", str(most)), *more)
            found = self._xml("GET", "", query)
            for one in found.iterfind("{*}Contents"):
                yield Entry(_text(one, "Key"), _instant(_text(one, "LastModified")))
            if _text(found, "IsTruncated") != "true":
                return
            more = (("continuation-token", _text(found, "NextContinuationToken")),)

    # ------------------------------------------------------------ uploads of many parts
    def begin(self, key: str, digest: str) -> str:
        """An upload, of which nothing can be seen until it is completed; its id."""
        return _text(self._xml("POST", key, (("uploads", ""),), headers={META: digest}), "UploadId")

    def part(self, key: str, upload: str, number: int, data: Body) -> str:
        """The part's tag, for `complete`."""
        query = (("partNumber", str(number)), ("uploadId", upload))
        with self._ask("PUT", key, query, data) as answer:
            return str(answer.headers["ETag"])

    def complete(self, key: str, upload: str, tags: list[str]) -> None:
        """The object is there, whole."""
        parts = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>" for number, tag in enumerate(tags, 1))
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        try:
            self._xml("POST", key, (("uploadId", upload),), Body.of(body))
        except BucketFailed as error:
            if error.code != "NoSuchUpload" or self.head(key) is None:
                raise

    def abort(self, key: str, upload: str) -> None:
        """Nothing is kept of the upload."""
        try:
            self._ask("DELETE", key, (("uploadId", upload),)).close()
        except BucketFailed as error:
            if error.status != 404:
                raise

    def uploads(self, prefix: str) -> Iterator[Entry]:
        """Those that have been begun and neither completed nor aborted; none where the server cannot tell."""
        more: Query = ()
        while True:
            try:
                found = self._xml("GET", "", (("uploads", ""), ("prefix", prefix), *more))
            except BucketFailed as error:
                if error.status == 501:
                    return
                raise
            for one in found.iterfind("{*}Upload"):
                yield Entry(_text(one, "Key"), _instant(_text(one, "Initiated")), _text(one, "UploadId"))
            if _text(found, "IsTruncated") != "true":
                return
            more = (
                ("key-marker", _text(found, "NextKeyMarker")),
                ("upload-id-marker", _text(found, "NextUploadIdMarker")),
            )

    # ------------------------------------------------------------ requests
    def _xml(
        self, method: str, key: str, query: Query, body: Body = NOTHING, headers: dict[str, str] | None = None
    ) -> ElementTree.Element:
        with self._ask(method, key, query, body, headers) as answer:
            text = answer.read(MAX_ANSWER)
        try:
            found = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise BucketFailed(f"the server of the bucket answers no XML: {error}") from error
        if found.tag.rpartition("}")[2] == "Error":  # an upload's completion fails with status 200
            raise _refused(200, text)
        return found

    def _ask(
        self, method: str, key: str, query: Query = (), body: Body = NOTHING, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """The answer; its body is not read. Raises BucketFailed."""
        for pause in PAUSES_S:
            try:
                return self._once(method, key, query, body, headers or {})
            except BucketFailed as error:
                if error.status and error.status not in AGAIN:
                    raise
            time.sleep(pause)
        return self._once(method, key, query, body, headers or {})

    def _once(self, method: str, key: str, query: Query, body: Body, headers: dict[str, str]) -> http.client.HTTPResponse:
        where = urlsplit(self._bucket.url)
        path = sigv4.encoded(f"/{self._bucket.name}/{key}" if key else f"/{self._bucket.name}", path=True)
        when = sigv4.stamp(self._now())
        signed = {"Host": where.netloc, "X-Amz-Date": when, "X-Amz-Content-Sha256": body.sha256, **headers}
        request = sigv4.Request(method, path, query, signed, body.sha256)
        sent = {**signed, "Authorization": sigv4.authorization(self._who, request, when)}
        target = f"{path}?{sigv4.query_of(query)}" if query else path
        try:
            line = self._line(where.hostname or "", where.port)
            pieces = body.pieces() if body.length else None
            line.request(method, target, pieces, {**sent, "Content-Length": str(body.length)})
            answer = line.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise BucketFailed(f"{where.netloc} does not answer: {error or type(error).__name__}") from error
        if answer.status >= 300:
            with answer:
                raise _refused(answer.status, answer.read(MAX_ANSWER))
        return answer

    def _line(self, host: str, port: int | None) -> http.client.HTTPConnection:
        if not self._bucket.url.startswith("https:"):
            return http.client.HTTPConnection(host, port, timeout=self._silence_s)
        return http.client.HTTPSConnection(host, port, timeout=self._silence_s, context=self._tls)


def _refused(status: int, text: bytes) -> BucketFailed:
    code = why = ""
    try:
        found = ElementTree.fromstring(text) if text else None
    except ElementTree.ParseError:
        found = None
    if found is not None:
        code, why = _text(found, "Code"), _text(found, "Message")
    said = ": ".join(filter(None, (code, why))) or http.client.responses.get(status, "no reason")
    return BucketFailed(f"the server of the bucket answers {status}, {said}", status=status, code=code)


def _text(found: ElementTree.Element, name: str) -> str:
    return found.findtext(f"{{*}}{name}") or ""


def _instant(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise BucketFailed(f"the server of the bucket has no date in its answer: {text!r}") from error
