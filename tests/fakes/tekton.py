"""Tekton Triggers' EventListener, as it was observed in November 2026.

It says 202 to every JSON object, whether or not anything comes of it; what did can be known from
its ``cloudEventURI`` alone. A run is named after the delivery, as our manifests have it, so that
a repeat makes no second one.
"""

import hmac
import http.client
import json
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.receiver import Record, RecordingReceiver, Reply

EVENT = "dev.tekton.event.triggers"
# A cluster's own limits are 5 s for a request's body and 30 s for all that is done with it.
READ_TIMEOUT_S = 5.0
HANDLER_TIMEOUT_S = 30.0
TIMED_OUT = b"EventListener Timeout!"


class EventListener(RecordingReceiver):
    """One EventListener with one trigger; ``runs`` are the names of those that it made.

    Args:
        secret: What its interceptor checks; None for a trigger without one.
        interceptor: ``github`` or ``gitlab``.
        needs: The path in the body that its binding reads; where it is missing, nothing is made.
        cloud_event_uri: Where it tells what became of each request; may be set later.
        is_early: Whether it tells so before its own answer.
        takes_s: How long its handler works.

    Its next ``losing`` answers are lost, although all is done.
    """

    def __init__(
        self,
        secret: str | None = None,
        *,
        interceptor: str = "github",
        needs: tuple[str, ...] = ("head_commit", "id"),
        cloud_event_uri: str | None = None,
        is_early: bool = False,
        takes_s: float = 0.0,
        read_timeout_s: float = READ_TIMEOUT_S,
        handler_timeout_s: float = HANDLER_TIMEOUT_S,
    ) -> None:
        super().__init__(secret, answer=self._listen, read_timeout_s=read_timeout_s)
        self.runs: list[str] = []
        self.is_deleted = False
        self.losing = 0
        self.name = "reposentry"
        self.namespace = "ci"
        self.uid = str(uuid.uuid4())
        self.cloud_event_uri = cloud_event_uri
        self.is_early = is_early
        self.takes_s = takes_s
        self.handler_timeout_s = handler_timeout_s
        self._interceptor = interceptor
        self._needs = needs
        self._token = secret
        self._making = threading.Lock()  # guards runs
        self._tellers: list[threading.Thread] = []

    def close(self) -> None:
        """Stop listening, once all has been told."""
        for teller in self._tellers:
            teller.join()
        super().close()

    def probed(self, path: str) -> Reply:
        """Answer a GET: it listens for JSON objects, and has one address to ask how it is."""
        if path == "/live":
            return 200, {}, b"ok"
        return _refusal("unexpected end of JSON input")

    def _listen(self, request: Record) -> Reply | str:
        if request.path.startswith("//"):
            return 307, {"Location": f"/{request.path.lstrip('/')}"}, b""
        if self.is_deleted:
            return 500, {}, b""
        mistake = _mistake(request.body)
        if mistake is not None:
            return _refusal(mistake)
        event_id = str(uuid.uuid4())
        if self.takes_s > self.handler_timeout_s:
            time.sleep(self.handler_timeout_s)
            self._process(request, event_id)
            return 503, {}, TIMED_OUT
        time.sleep(self.takes_s)
        if self.is_early:
            self._process(request, event_id)
        else:
            teller = threading.Thread(target=self._process, args=(request, event_id))
            self._tellers.append(teller)
            teller.start()
        if self.losing > 0:
            self.losing -= 1
            return "lost"
        return self._accepted(request, event_id)

    def _accepted(self, request: Record, event_id: str) -> Reply:
        said = {
            "eventListener": self.name,
            "namespace": self.namespace,
            "eventListenerUID": self.uid,
            "eventID": event_id,
        }
        headers: dict[str, str] = {}
        if is_cloud_event(request):
            headers = {
                "Ce-Id": event_id,
                "Ce-Source": self.name,
                "Ce-Specversion": "1.0",
                "Ce-Type": f"{EVENT}.accepted.v1",
            }
        return 202, headers, json.dumps(said).encode()

    def _process(self, request: Record, event_id: str) -> None:
        """Do what the trigger says, and tell of it."""
        told = canonical(request.headers)
        # Their order is not the order of what happened.
        self._tell("done", event_id, None)
        self._tell("started", event_id, told)
        if self._is_genuine(request) and self._make(request):
            self._tell("successful", event_id, told)

    def _is_genuine(self, request: Record) -> bool:
        if self._token is None:
            return True
        if self._interceptor == "gitlab":
            given = request.header("X-Gitlab-Token") or ""
            return hmac.compare_digest(given, self._token)
        kind = request.header("Content-Type") or ""
        is_form = kind.startswith("application/x-www-form-urlencoded")
        # Only this one header is looked at, whatever else is signed.
        signed = request.header("X-Hub-Signature-256") is not None
        return signed and request.valid is True and not is_form

    def _make(self, request: Record) -> bool:
        """Make a run; False where there is one already, or the binding finds nothing."""
        found: Any = json.loads(request.body)
        for key in self._needs:
            found = found.get(key) if isinstance(found, Mapping) else None
        names = ("X-GitHub-Delivery", "Ce-Id", "X-RepoSentry-Delivery")
        delivery = next((given for name in names if (given := request.header(name))), None)
        if found is None or delivery is None:
            return False
        with self._making:
            name = f"rs-{delivery}"
            if name in self.runs:
                return False
            self.runs.append(name)
        return True

    def _tell(self, what: str, event_id: str, data: Any) -> None:
        """POST a CloudEvent in binary mode; whoever does not listen is not told again."""
        if self.cloud_event_uri is None:
            return
        where = urlsplit(self.cloud_event_uri)
        connection = http.client.HTTPConnection(where.netloc, timeout=10)
        headers = {
            "Ce-Id": event_id,
            "Ce-Source": f"/apis/triggers.tekton.dev/v1beta1/namespaces/{self.namespace}",
            "Ce-Specversion": "1.0",
            "Ce-Type": f"{EVENT}.{what}.v1",
            "Content-Type": "application/json",
        }
        try:
            connection.request("POST", where.path, json.dumps(data).encode(), headers)
            connection.getresponse().read()
        except OSError:
            pass
        finally:
            connection.close()


def is_cloud_event(request: Record) -> bool:
    """Tell whether a request is a CloudEvent, in either mode."""
    kind = request.header("Content-Type") or ""
    is_structured = kind.startswith("application/cloudevents+json")
    return is_structured or request.header("Ce-Specversion") is not None


def canonical(headers: Mapping[str, str]) -> dict[str, list[str]]:
    """Write headers as Go does: ``X-Github-Delivery``, each with a list of values.

    >>> canonical({"X-GitHub-Delivery": "d-1"})
    {'X-Github-Delivery': ['d-1']}
    """
    return {
        "-".join(part.capitalize() for part in name.split("-")): [value]
        for name, value in headers.items()
    }


def _mistake(body: bytes) -> str | None:
    """Say what Go says of a body that is no JSON object."""
    if not body:
        return "unexpected end of JSON input"
    try:
        said = json.loads(body)
    except ValueError:
        return f"invalid character '{chr(body[0])}' looking for beginning of value"
    if isinstance(said, dict):
        return None
    kinds = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    kind = kinds.get(type(said), "null")
    return f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"


def _refusal(mistake: str) -> Reply:
    said = {"errorMessage": f"Invalid event body format : {mistake}"}
    return 400, {}, json.dumps(said).encode()
