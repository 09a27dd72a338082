//! What a client shows of itself.

use http::HeaderMap;
use runtime::Secret;

use super::ticket;

/// What a client shows. Prints as `***`.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A key, or a JWT: that is what it is taken for when it has three parts between dots and tokens are configured.
    Bearer(Secret),
    /// A ticket.
    Ticket(Secret),
}

impl Credential {
    /// What a request shows: `Authorization: Bearer`, `X-API-Key`, or else the `ticket=` of its address. None where it shows
    /// nothing; an empty key is shown, and wrong.
    pub fn of(headers: &HeaderMap, ticket: Option<&str>) -> Option<Self> {
        let bearer = runtime::access::given(headers).map(|shown| {
            // No key of ours is anything but text.
            Self::Bearer(std::str::from_utf8(shown).unwrap_or_default().into())
        });
        bearer.or_else(|| ticket.map(|ticket| Self::Ticket(ticket.into())))
    }

    /// What an `auth` message shows: a key, a JWT or a ticket.
    pub fn shown(token: &str) -> Self {
        if ticket::looks_like_one(token) { Self::Ticket(token.into()) } else { Self::Bearer(token.into()) }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(headers: &[(&'static str, &[u8])], ticket: Option<&str>) -> Option<(bool, String)> {
        let pairs = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap()));
        Credential::of(&pairs.collect(), ticket).map(|credential| match credential {
            Credential::Bearer(shown) => (false, shown.expose().to_owned()),
            Credential::Ticket(shown) => (true, shown.expose().to_owned()),
        })
    }

    #[test]
    fn a_header_goes_before_the_address() {
        let bearer = |shown: &str| Some((false, shown.to_owned()));
        assert_eq!(read(&[("authorization", b"Bearer a.b.c")], Some("t")), bearer("a.b.c"));
        assert_eq!(read(&[("x-api-key", b"k")], None), bearer("k"));
        assert_eq!(read(&[], Some("t")), Some((true, "t".into())));
        assert_eq!(read(&[("authorization", b"Basic abc")], Some("t")), Some((true, "t".into())));
        assert_eq!(read(&[("authorization", b"Basic abc")], None), None);
        assert_eq!(read(&[], None), None);
        // Shown, and wrong: never the same as nothing.
        assert_eq!(read(&[("authorization", b"Bearer ")], None), bearer(""));
        assert_eq!(read(&[("x-api-key", b"\xff\xfe")], None), bearer(""));
        assert_eq!(read(&[], Some("")), Some((true, String::new())));
    }

    #[test]
    fn a_credential_does_not_print_itself() {
        let ticket = format!("ticket_{}", "h".repeat(43));
        let shown = format!("{:?}{:?}", Credential::shown("hidden"), Credential::shown(&ticket));
        assert_eq!(shown, "Bearer(***)Ticket(***)");
    }
}
