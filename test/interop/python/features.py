"""Tries the official Python SDK: python features.py
CONNECTION-STRING USER PASSWORD TLS-STRING AUTHORITY CERTIFICATE KEY.

For each feature it prints one line of JSON: what it is, how it went, and why not.
"""

import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import couchbase.subdocument as SD
from couchbase.auth import CertificateAuthenticator, PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.durability import DurabilityLevel, ServerDurability
from couchbase.exceptions import (
    AuthenticationException,
    CASMismatchException,
    CollectionAlreadyExistsException,
    CollectionNotFoundException,
    CouchbaseException,
    DocumentExistsException,
    DocumentNotFoundException,
    PathExistsException,
    ScopeAlreadyExistsException,
    ScopeNotFoundException,
    UnAmbiguousTimeoutException,
)
from couchbase.kv_range_scan import PrefixScan
from couchbase.mutation_state import MutationState
from couchbase.options import (
    ClusterOptions,
    ClusterTimeoutOptions,
    GetOptions,
    IncrementOptions,
    RemoveOptions,
    ReplaceOptions,
    ScanOptions,
    SignedInt64,
    UpsertOptions,
)

url, user, password, tls_url, authority, certificate, key = sys.argv[1:8]

timeouts = ClusterTimeoutOptions(
    connect_timeout=timedelta(seconds=20),
    bootstrap_timeout=timedelta(seconds=20),
    kv_timeout=timedelta(seconds=10),
)


def connect(secret):
    return Cluster(
        url, ClusterOptions(PasswordAuthenticator(user, secret), timeout_options=timeouts)
    )


cluster = connect(password)
bucket = cluster.bucket("default")
documents = bucket.default_collection()


def refused(kind, attempt):
    """`attempt` must end with an error of this kind."""
    try:
        attempt()
    except kind:
        return
    raise AssertionError("it was not refused")


def try_documents():
    documents.upsert("document", {"n": 1})
    assert documents.get("document").content_as[dict] == {"n": 1}
    documents.replace("document", "text")
    assert documents.get("document").content_as[str] == "text"
    documents.remove("document")
    refused(DocumentNotFoundException, lambda: documents.get("document"))
    assert not documents.exists("document").exists
    documents.insert("document", 1)
    refused(DocumentExistsException, lambda: documents.insert("document", 2))


def try_cas():
    first = documents.upsert("cas", 1).cas
    second = documents.replace("cas", 2, ReplaceOptions(cas=first)).cas
    refused(
        CASMismatchException,
        lambda: documents.replace("cas", 3, ReplaceOptions(cas=first)),
    )
    documents.remove("cas", RemoveOptions(cas=second))


def try_counters():
    binary = documents.binary()
    initial = IncrementOptions(initial=SignedInt64(10))
    assert binary.increment("counter", initial).content == 10
    assert binary.increment("counter", IncrementOptions()).content == 11


def try_expiry():
    documents.upsert("fleeting", 1, UpsertOptions(expiry=timedelta(seconds=1)))
    until = time.monotonic() + 10
    while documents.exists("fleeting").exists:
        assert time.monotonic() < until, "it does not expire"
        time.sleep(0.05)


def try_sub_document():
    documents.upsert("tree", {"name": "a", "list": [1]})
    documents.mutate_in(
        "tree",
        [
            SD.upsert("name", "b"),
            SD.array_append("list", 2),
            SD.insert("deep.n", 1, create_parents=True),
            SD.increment("deep.n", 4),
        ],
    )
    found = documents.lookup_in("tree", [SD.get("name"), SD.get("deep.n"), SD.count("list")])
    assert [found.content_as[str](0), found.content_as[int](1)] == ["b", 5]
    assert found.content_as[int](2) == 2
    refused(
        PathExistsException,
        lambda: documents.mutate_in("tree", [SD.insert("name", "c")]),
    )


def try_xattrs():
    documents.upsert("marked", {"body": 1})
    documents.mutate_in("marked", [SD.upsert("mark.by", "us", xattr=True, create_parents=True)])
    found = documents.lookup_in(
        "marked", [SD.get("mark.by", xattr=True), SD.get("$document.CAS", xattr=True)]
    )
    assert found.content_as[str](0) == "us"
    assert re.match(r"^0x[0-9a-f]{16}$", found.content_as[str](1))


def try_collections():
    manager = bucket.collections()
    manager.create_scope("python")
    manager.create_collection("python", "orders")
    orders = bucket.scope("python").collection("orders")
    orders.upsert("document", "of orders")
    documents.upsert("document", "of the default")
    assert orders.get("document").content_as[str] == "of orders"
    refused(ScopeAlreadyExistsException, lambda: manager.create_scope("python"))
    refused(
        CollectionAlreadyExistsException,
        lambda: manager.create_collection("python", "orders"),
    )
    refused(ScopeNotFoundException, lambda: manager.create_collection("none", "c"))
    manager.drop_collection("python", "orders")
    refused(
        CollectionNotFoundException,
        lambda: manager.drop_collection("python", "orders"),
    )
    manager.drop_scope("python")
    refused(ScopeNotFoundException, lambda: manager.drop_scope("python"))


def try_unknown_collection():
    # The SDK tries again until it has no time left, as the collection may be on its way.
    missing = bucket.scope("none").collection("such")
    options = GetOptions(timeout=timedelta(seconds=1))
    refused(
        (CollectionNotFoundException, ScopeNotFoundException, UnAmbiguousTimeoutException),
        lambda: missing.get("document", options),
    )


def try_by_tls(authenticator, attempt=lambda cluster: None):
    encrypted = Cluster(tls_url, ClusterOptions(authenticator, timeout_options=timeouts))
    collection = encrypted.bucket("default").default_collection()
    collection.upsert("encrypted", 1)
    assert collection.get("encrypted").content_as[int] == 1
    attempt(encrypted)
    encrypted.close()


def try_management_by_tls():
    def manage(encrypted):
        assert encrypted.buckets().get_bucket("default").name == "default"

    try_by_tls(PasswordAuthenticator(user, password, cert_path=authority), manage)


def try_client_certificate():
    try_by_tls(
        CertificateAuthenticator(
            cert_path=certificate, key_path=key, trust_store_path=authority
        )
    )


def durable(level):
    options = UpsertOptions(durability=ServerDurability(level))
    documents.upsert("durable", 1, options)


def try_scan():
    stored = [documents.upsert(f"scan-{index}", index) for index in range(20)]
    # Scans show what is on disk: they are told what that has to be.
    options = ScanOptions(consistent_with=MutationState(*stored))
    found = list(documents.scan(PrefixScan("scan-"), options))
    assert {each.id for each in found} == {f"scan-{index}" for index in range(20)}


def try_parallel():
    count = 2_000
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda index: documents.upsert(f"parallel-{index}", index), range(count)))
        found = pool.map(
            lambda index: documents.get(f"parallel-{index}").content_as[int], range(count)
        )
        assert list(found) == list(range(count))


def try_unknown_bucket():
    refused(
        CouchbaseException,
        lambda: cluster.bucket("missing").default_collection().get("document"),
    )


def try_wrong_password():
    refused(AuthenticationException, lambda: connect(password + "?"))


FEATURES = {
    "login by SCRAM-SHA512": lambda: documents.upsert("first", 1),
    "documents": try_documents,
    "cas": try_cas,
    "counters": try_counters,
    "expiry": try_expiry,
    "sub-document": try_sub_document,
    "xattrs": try_xattrs,
    "collections": try_collections,
    "unknown collection": try_unknown_collection,
    "TLS": lambda: try_by_tls(PasswordAuthenticator(user, password, cert_path=authority)),
    "management by TLS": try_management_by_tls,
    "client certificate": try_client_certificate,
    "durability majority": lambda: durable(DurabilityLevel.MAJORITY),
    "durability persistToMajority": lambda: durable(DurabilityLevel.PERSIST_TO_MAJORITY),
    "scans": try_scan,
    "documents in parallel": try_parallel,
    "unknown bucket": try_unknown_bucket,
    "wrong password": try_wrong_password,
}

REFUSALS = re.compile("FeatureUnavailable|UnsupportedOperation|FeatureNotAvailable")

for feature, attempt in FEATURES.items():
    outcome = {"feature": feature, "result": "works", "detail": ""}
    try:
        attempt()
    except (CouchbaseException, AssertionError) as error:
        name = type(error).__name__
        if REFUSALS.search(name):
            outcome.update(result="refused", detail=name)
        else:
            outcome.update(result="fails", detail=f"{name}: {error}"[:400])
    print(json.dumps(outcome), flush=True)
cluster.close()
