"""A client of the API, as the demo and the benchmarks use it: signed requests, jobs awaited. Standard library only."""

import base64
import hashlib
import hmac
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

POLL_S = 0.1
Json = dict[str, Any]


class ApiError(Exception):
    """The API refused; its text and code."""

    def __init__(self, command: str, code: int, text: str) -> None:
        super().__init__(f"{command}: {text} ({code})")
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Keys:
    """A user's API key and secret key."""

    api: str
    secret: str


class Client:
    """Speaks with one endpoint, such as http://127.0.0.1:8080/client/api."""

    def __init__(self, endpoint: str, keys: Keys) -> None:
        self._endpoint = endpoint
        self._keys = keys

    def call(self, command: str, **params: object) -> Json:
        """The body inside the answer's envelope. Raises ApiError, or OSError when nobody answers."""
        words = {name: str(value) for name, value in params.items() if value is not None}
        words |= {"command": command, "response": "json", "apiKey": self._keys.api}
        query = "&".join(f"{name}={_quote(words[name])}" for name in sorted(words, key=str.lower))
        mac = hmac.new(self._keys.secret.encode(), query.lower().encode(), hashlib.sha1).digest()
        signature = urllib.parse.quote(base64.b64encode(mac), safe="")
        return _answer(command, f"{self._endpoint}?{query}&signature={signature}")

    def rows(self, command: str, key: str, **params: object) -> list[Json]:
        """The rows of a list command."""
        return list(self.call(command, **params).get(key, []))

    def job(self, command: str, *, seconds: float = 600, progress: Callable[[], None] | None = None, **params: object) -> Json:
        """The result of an asynchronous command, once it is there. Raises ApiError when the job fails."""
        accepted = self.call(command, **params)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen = self.call("queryAsyncJobResult", jobid=accepted["jobid"])
            if seen["jobstatus"] == 1:
                return dict(seen["jobresult"])
            if seen["jobstatus"] == 2:
                failed = seen["jobresult"]
                raise ApiError(command, failed.get("errorcode", 530), failed.get("errortext", "failed"))
            if progress is not None:
                progress()
            time.sleep(POLL_S)
        raise ApiError(command, 530, f"the job has not ended within {seconds:g} s")


def login(endpoint: str, username: str, password: str) -> Keys:
    """Logs in with a password and makes API keys for the user."""
    form = {"command": "login", "username": username, "password": password, "response": "json"}
    request = urllib.request.Request(endpoint, urllib.parse.urlencode(form).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        cookies = "; ".join(cookie.split(";")[0] for cookie in answer.headers.get_all("Set-Cookie") or ())
        session = json.load(answer)["loginresponse"]
    query = urllib.parse.urlencode(
        {
            "command": "registerUserKeys",
            "id": session["userid"],
            "response": "json",
            "sessionkey": session["sessionkey"],
        }
    )
    made = _answer("registerUserKeys", urllib.request.Request(f"{endpoint}?{query}", headers={"Cookie": cookies}))
    keys = made["userkeys"]
    return Keys(keys["apikey"], keys["secretkey"])


def _quote(value: str) -> str:
    return urllib.parse.quote(value, safe=".-*_")


def _answer(command: str, url: "str | urllib.request.Request") -> Json:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return _body(json.load(answer))
    except urllib.error.HTTPError as error:
        body = _body(json.loads(error.read() or b'{"errorresponse": {}}'))
        raise ApiError(command, body.get("errorcode", error.code), body.get("errortext", error.reason)) from None
    except http.client.HTTPException as error:
        raise OSError(f"{command}: {error}") from error


def _body(answer: Json) -> Json:
    (body,) = answer.values()
    return dict(body)
