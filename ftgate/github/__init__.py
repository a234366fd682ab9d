"""What happens on GitHub: the comment, the required status, the audit trail, and who may overrule them."""
