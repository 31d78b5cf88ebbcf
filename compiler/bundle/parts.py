"""What lies in a bundle, by name."""

from __future__ import annotations

MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
CERTIFICATE = "certificate.json"
REPORT = "report.html"
ADAPTERS = "adapters"  # the folder of `Exported.adapters`
PLANS = "plans"  # the folder of `Manifest.plans`
EXPORTED = "exported.json"  # the record beside a portable model, which no bundle takes along
UNLISTED = frozenset({MANIFEST, DIGEST})  # what no manifest can list
