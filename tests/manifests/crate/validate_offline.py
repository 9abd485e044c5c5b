"""Run by the validators' Python: validate_offline.py CACHE CONTEXT CRATE…; prints issues as JSON.

roc-validator wants the contexts that a crate names from the network. They are put into its cache
here: CONTEXT is the one that the rocrate library ships, the few terms of workflow runs stand below.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any, Dict

import requests
from requests.adapters import BaseAdapter
from requests_cache import CachedSession
from rocrate_validator import services
from rocrate_validator.models import Severity
from urllib3.response import HTTPResponse

RUN = "https://w3id.org/ro/terms/workflow-run#"
TERMS = ("ContainerImage", "SIFImage", "containerImage", "environment", "registry", "sha256", "tag")


class Here(BaseAdapter):
    """Answers with texts of its own; there is no network behind it."""

    def __init__(self, texts: Dict[str, str]) -> None:
        super().__init__()
        self.texts = texts

    def send(self, request: Any, **_options: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        response.url, response.request = request.url, request
        response.headers["Content-Type"] = "application/ld+json"
        body = io.BytesIO(self.texts[request.url].encode())
        response.raw = HTTPResponse(
            body=body, status=200, headers=response.headers, preload_content=False
        )
        return response

    def close(self) -> None:
        pass


def fill(cache: str, context: str) -> None:
    with open(context, encoding="utf-8") as stream:
        crate_terms = {"@context": json.load(stream)["@context"]}
    texts = {
        "https://w3id.org/ro/crate/1.1/context": json.dumps(crate_terms),
        "https://w3id.org/ro/terms/workflow-run/context": json.dumps(
            {"@context": {term: RUN + term for term in TERMS}}
        ),
    }
    session = CachedSession(cache_name=cache, backend="sqlite", expire_after=-1)
    session.mount("https://", Here(texts))
    for url in texts:
        session.get(url)


def issues(cache: str, crate: str) -> Any:
    settings = services.ValidationSettings(
        rocrate_uri=crate,
        profile_identifier="process-run-crate-0.5",
        requirement_severity=Severity.RECOMMENDED,
        offline=True,
        cache_path=cache,
    )
    found = services.validate(settings).get_issues(Severity.RECOMMENDED)
    return [[one.severity.name, one.check.identifier, one.message] for one in found]


if __name__ == "__main__":
    fill(sys.argv[1], sys.argv[2])
    print(json.dumps({crate: issues(sys.argv[1], crate) for crate in sys.argv[3:]}))
