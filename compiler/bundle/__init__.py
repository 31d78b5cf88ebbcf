"""The folder that a build leaves behind: `manifest.json` and every file that it vouches for."""

from compiler.bundle.made import assemble, manifest_of, require_place, seal, write_manifest
from compiler.bundle.opened import Files, certificate, compare, digest_of, read, sealed, verify
from compiler.bundle.parts import ADAPTERS, CERTIFICATE, DIGEST, EXPORTED, MANIFEST, PLANS, REPORT, UNLISTED

__all__ = [
    "ADAPTERS",
    "CERTIFICATE",
    "DIGEST",
    "EXPORTED",
    "MANIFEST",
    "PLANS",
    "REPORT",
    "UNLISTED",
    "Files",
    "assemble",
    "certificate",
    "compare",
    "digest_of",
    "manifest_of",
    "read",
    "require_place",
    "seal",
    "sealed",
    "verify",
    "write_manifest",
]
