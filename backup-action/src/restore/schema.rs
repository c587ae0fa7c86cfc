//! One schema in one transaction.
