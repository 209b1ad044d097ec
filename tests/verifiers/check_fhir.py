"""Reads FHIR R4 AuditEvents, one a line, with the fhir.resources library; prints how many there were and how many name a
profile of IHE's Basic Audit Log Patterns."""
import sys

from fhir.resources.R4B.auditevent import AuditEvent

events = [AuditEvent.model_validate_json(line) for line in sys.stdin]
print(len(events), sum(1 for e in events if e.meta and "IHE.BasicAudit" in str(e.meta.profile[0])))
