//! Tells people and machines about a run: Slack, e-mail, a webhook, a heartbeat. Never changes a
//! verdict, never holds a secret or a row.
