"""Verifies tokens with pyseto, a PASETO implementation that shares no code with Quorate's.

Reads {"root": "k4.public....", "tokens": [{"type": "...", "token": "v4.public...."}]} from standard input and
prints a list with what each token says. Fails on the first token that does not verify, and on every token that
still verifies after one of its bytes was changed.
"""

import base64
import json
import sys

import pyseto

CERTIFICATE = "quorate.issuing-certificate.v1"


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def opened(key, token, kind):
    """The claims of a token whose signature by `key` is good, for this type alone."""
    claims = json.loads(pyseto.decode(key, token, implicit_assertion=kind.encode()).payload)
    if claims.get("typ") != kind:
        raise ValueError(f"the type in the claims is {claims.get('typ')}, not {kind}")
    return claims


def refused(key, token, kind):
    try:
        pyseto.decode(key, token, implicit_assertion=kind.encode())
    except (pyseto.VerifyError, pyseto.DecryptError, ValueError):
        return True
    return False


def changed(token):
    """The token with one bit changed, once in each of its bytes: message, signature and footer."""
    parts = token.split(".")
    for part in range(2, len(parts)):
        data = decoded(parts[part])
        for at in range(len(data)):
            other = bytearray(data)
            other[at] ^= 1 << at % 8
            yield ".".join(parts[:part] + [encoded(bytes(other))] + parts[part + 1 :])


def verify(root, token, kind):
    footer = json.loads(decoded(token.split(".")[3]))
    certificate = opened(root, footer["crt"], CERTIFICATE)
    issuing = pyseto.Key.from_paserk(certificate["key"])
    if not footer["kid"] == certificate["key_id"] == issuing.to_paserk_id():
        raise ValueError("the footer, its certificate and its key name different keys")
    claims = opened(issuing, token, kind)
    if not refused(issuing, token, CERTIFICATE) or not refused(root, token, kind):
        raise ValueError("it also verifies as another type, or under the root key")
    tried = accepted = 0
    for key, text, assertion in ((issuing, token, kind), (root, footer["crt"], CERTIFICATE)):
        for other in changed(text):
            tried += 1
            accepted += not refused(key, other, assertion)
    return {
        "claims": claims,
        "certificate": certificate,
        "footer": footer,
        "changed": tried,
        "changed_and_accepted": accepted,
    }


def main():
    asked = json.load(sys.stdin)
    root = pyseto.Key.from_paserk(asked["root"])
    json.dump([verify(root, entry["token"], entry["type"]) for entry in asked["tokens"]], sys.stdout)


main()
