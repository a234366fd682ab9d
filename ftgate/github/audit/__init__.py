"""The audit trail: records in a hash chain, kept in the comment and on the ledger branch, and waivers."""
