"""ftgate beside what people do without it: lm-evaluation-harness for each model, and a script around a judge."""
