# SPDX-License-Identifier: Apache-2.0
"""Credentials for every `migrate send` and `recv` of the tests: with MIGRATE_TEST_TLS=x509 or psk the guests move over
encrypted channels, unless a test chooses --tls-creds itself."""

import atexit
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from environment import skip

HOST = "127.0.0.1"


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def make_certificate(folder, side, extensions):
    """A certificate of the CA in `folder`, with the names that migrate looks for."""
    request = folder / f"{side}.csr"
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={side}.test",
            "-keyout", folder / f"{side}-key.pem", "-out", request)
    (folder / "extensions").write_text(extensions)
    openssl("x509", "-req", "-in", request, "-CA", folder / "ca-cert.pem", "-CAkey", folder / "ca-key.pem", "-days", "2",
            "-set_serial", secrets.randbits(60), "-extfile", folder / "extensions", "-out", folder / f"{side}-cert.pem")


def make_x509(folder):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test CA",
            "-days", "2", "-keyout", folder / "ca-key.pem", "-out", folder / "ca-cert.pem")
    make_certificate(folder, "server", f"subjectAltName=IP:{HOST}\nextendedKeyUsage=serverAuth\n")
    make_certificate(folder, "client", "extendedKeyUsage=clientAuth\n")
    return f"x509:{folder}"


def make_psk(folder):
    file = folder / "keys.psk"
    file.touch(mode=0o600)
    file.write_text(f"test:{secrets.token_hex(32)}\n")
    return f"psk:{file}"


@functools.cache
def test_credentials():
    """The value of --tls-creds; None without encryption. The files last as long as this process."""
    kind = os.environ.get("MIGRATE_TEST_TLS")
    if not kind:
        return None
    if kind == "x509" and shutil.which("openssl") is None:
        skip("there is no openssl to make certificates with (package openssl)")
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return {"x509": make_x509, "psk": make_psk}[kind](Path(folder.name))


def with_credentials(arguments):
    """The arguments of a `migrate` process, with the credentials that it needs."""
    words = [str(word) for word in arguments]
    if not words or words[0] not in ("send", "recv") or "--tls-creds" in words:
        return words
    credentials = test_credentials()
    return words if credentials is None else [*words, "--tls-creds", credentials]
