//! What PostgreSQL refuses, where no server is there to say so: in simulations and in tests.

use std::error::Error;

use sqlx::error::{DatabaseError, ErrorKind};

/// An error of the server's.
pub(crate) fn refused(code: &'static str, why: &'static str) -> sqlx::Error {
    sqlx::Error::Database(Box::new(Refused { code, why }))
}

#[derive(Debug)]
struct Refused {
    code: &'static str,
    why: &'static str,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.why)
    }
}

impl Error for Refused {}

impl DatabaseError for Refused {
    fn message(&self) -> &str {
        self.why
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.code.into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        if self.code == "23505" { ErrorKind::UniqueViolation } else { ErrorKind::Other }
    }
}
