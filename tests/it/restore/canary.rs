//! Dumps that try to run something on the machine that restores: one test for each place where they
//! could say it. The canary is a file that must not appear.
