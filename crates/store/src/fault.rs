//! What an error of PostgreSQL means for a batch, by its SQLSTATE.

use sqlx::error::DatabaseError;

/// Whether a batch was refused because somebody else wrote what it went by without having read it (serialization failure).
pub fn is_overtaken(error: &sqlx::Error) -> bool {
    is_code(error, &["40001"])
}

/// Whether it is too much at once: a statement took longer than it may (query canceled), or what is done between two did (idle in
/// transaction), or it takes more memory or locks than PostgreSQL has (out of memory).
pub fn is_too_much(error: &sqlx::Error) -> bool {
    is_code(error, &["57014", "25P03", "53200"])
}

/// Whether PostgreSQL refuses what was written (data exception, integrity constraint violation, program limit exceeded), or what it
/// holds cannot be read, rather than the moment.
pub fn is_about_the_data(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) || is_class(error, &["22", "23", "54"])
}

/// Whether PostgreSQL says that nothing was committed; of all else nobody knows.
pub fn is_taken_back(error: &sqlx::Error) -> bool {
    is_too_much(error) || is_class(error, &["22", "23", "40", "54"])
}

/// Whether PostgreSQL is there and will not have us: a user or password that is wrong, or a database that is not there. Waiting mends
/// neither.
pub(crate) fn is_refusal_of_us(error: &sqlx::Error) -> bool {
    is_class(error, &["28"]) || is_code(error, &["3D000"])
}

/// Whether a lock was waited for in vain that others hold.
pub(crate) fn is_locked_out(error: &sqlx::Error) -> bool {
    is_code(error, &["55P03"])
}

/// Whether what should be made was made by somebody else at the same moment.
pub(crate) fn is_there_already(error: &sqlx::Error) -> bool {
    is_code(error, &["23505", "42P06"])
}

fn is_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| codes.contains(&code.as_ref()))
}

/// The first two characters of a code are its class.
fn is_class(error: &sqlx::Error, classes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| classes.iter().any(|class| code.starts_with(class)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refused::refused;

    #[test]
    fn what_takes_too_long_was_taken_back_whether_in_a_statement_or_between_two() {
        let refused = |code| refused(code, "refused");
        for code in ["57014", "25P03"] {
            assert!(is_too_much(&refused(code)) && is_taken_back(&refused(code)), "{code}");
        }
        assert!(!is_too_much(&refused("57P01")) && !is_taken_back(&refused("57P01")));
    }

    #[test]
    fn what_cannot_be_read_is_not_waited_for() {
        let unreadable = sqlx::Error::ColumnDecode { index: "changed_by".into(), source: "too long".into() };
        assert!(is_about_the_data(&unreadable));
        assert!(!is_about_the_data(&sqlx::Error::PoolTimedOut));
    }
}
