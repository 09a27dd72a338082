//! What an error of PostgreSQL means for the loop.

use connector::Failure;

/// What went wrong, as a decision. Never holds the address: an error's own text may.
pub(super) fn failure(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => answered(error.code().as_deref().unwrap_or_default(), error.message()),
        sqlx::Error::PoolTimedOut => Failure::unavailable("no connection to PostgreSQL became free in time"),
        sqlx::Error::Io(error) => Failure::unavailable(format!("PostgreSQL cannot be reached: {}", error.kind())),
        sqlx::Error::Tls(_) => Failure::unavailable("the TLS session with PostgreSQL failed"),
        sqlx::Error::Configuration(_) => Failure::refused("bad_url", "the key url is not a PostgreSQL address"),
        sqlx::Error::ColumnDecode { index, .. } => {
            Failure::refused("unexpected_answer", format!("PostgreSQL answered column {index} in another type"))
        }
        _ => Failure::unavailable("the connection to PostgreSQL broke"),
    }
}

/// By SQLSTATE: the class says whether another attempt can help.
fn answered(code: &str, message: &str) -> Failure {
    let why = format!("PostgreSQL said: {message} ({code})");
    match code {
        "42501" => Failure::refused("forbidden", why),
        // A table or column that was taken away may come back; until then readiness says so. One that has another type now is looked at
        // anew, and the next attempt goes by that.
        "42P01" | "42703" | "3F000" | "42883" | "42804" => Failure::unavailable(why),
        _ => match code.get(..2).unwrap_or_default() {
            "28" => Failure::refused("unauthorized", why),
            "22" | "23" | "P0" => Failure::refused("not_allowed", why),
            "42" | "0A" => Failure::refused("bad_statement", why),
            // Somebody's lock, our timeout, a deadlock, a full server, a restart: all pass.
            _ => Failure::unavailable(why),
        },
    }
}

/// Whether the error means that a table is not as it was when it was looked at.
pub(super) fn is_about_shape(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("42P01" | "42703" | "3F000" | "42804" | "42883"))
}

/// Whether somebody held a lock for longer than is waited for it.
pub(super) fn is_about_lock(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some("55P03")
}

/// Whether a value does not have the form that its column needs: no row can have such a key.
pub(super) fn is_about_form(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("22P02" | "22003"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_a_lock_and_a_full_server_are_worth_another_attempt() {
        for code in ["57P01", "55P03", "53300", "08006", "40P01"] {
            assert_eq!(answered(code, "later").code(), "unavailable", "{code}");
        }
    }

    #[test]
    fn a_constraint_and_a_missing_right_are_not() {
        let cases =
            [("23514", "not_allowed"), ("22P02", "not_allowed"), ("42501", "forbidden"), ("28P01", "unauthorized")];
        for (code, word) in cases {
            assert_eq!(answered(code, "no").code(), word);
        }
    }
}
