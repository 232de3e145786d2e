"""De-identification checked: identifiers of patients, their forms, and the search of outputs for them."""

from medseg.privacy.audit import AuditResult, Leak, audit
from medseg.privacy.identifiers import Identifier, read_identifiers
from medseg.privacy.matcher import Matcher

__all__ = ["AuditResult", "Identifier", "Leak", "Matcher", "audit", "read_identifiers"]
