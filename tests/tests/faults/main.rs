//! Real faults, under load, against every service as two processes of its own. Each test prints a line
//! `fault: … edits … lost … recovered in …`; `LOCKSTEP_FAULTS` says how many rounds each takes, `SEED` replays one.

mod fault;
mod round;
