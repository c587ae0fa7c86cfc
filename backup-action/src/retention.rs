//! Which backups stay and which go: pure rules over manifests. No I/O, no clock: everything is given.
