//! Host and port in a server's URL; credentials are stepped over and never shown.

use std::net::{SocketAddr, ToSocketAddrs as _};

use percent_encoding::percent_decode_str;

/// Host and port.
#[derive(Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads `scheme://user:password@host:port/…`; the error continues the sentence "the variable …".
    pub fn parse(url: &str, schemes: &[&str], default_port: u16) -> Result<Self, String> {
        let expected = || format!("must look like {}://host:port", schemes[0]);
        let (scheme, rest) = url.trim().split_once("://").ok_or_else(expected)?;
        if !schemes.contains(&scheme) {
            return Err(expected());
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => place.rsplit_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(expected());
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| expected())?,
            None => default_port,
        };
        Ok(Self { host: host.to_owned(), port })
    }

    /// For people.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What the host's name stands for.
    pub fn sockets(&self) -> std::io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }
}

/// A URL without its password, and the password.
pub fn apart(url: &str) -> (String, Option<String>) {
    let whole = || (url.to_owned(), None);
    let Some((scheme, rest)) = url.split_once("://") else { return whole() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((who, place)) = authority.rsplit_once('@') else { return whole() };
    let Some((user, password)) = who.split_once(':') else { return whole() };
    let password = percent_decode_str(password).decode_utf8_lossy().into_owned();
    (format!("{scheme}://{user}@{place}{path}"), Some(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_found_behind_credentials() {
        let cases = [
            ("nats://localhost:4333", "localhost:4333"),
            ("nats://10.0.0.1", "10.0.0.1:4222"),
            ("nats://me:p@ss@host:1/x?y=z", "host:1"),
            ("tls://[::1]:5", "::1:5"),
        ];
        for (url, place) in cases {
            assert_eq!(Address::parse(url, &["nats", "tls"], 4222).unwrap().place(), place, "{url}");
        }
    }

    #[test]
    fn a_password_is_taken_out_and_nothing_else() {
        let told = |url: &str, password: Option<&str>| (url.to_owned(), password.map(str::to_owned));
        assert_eq!(apart("postgres://me:p%40ss@h:1/db?a=b:c@d"), told("postgres://me@h:1/db?a=b:c@d", Some("p@ss")));
        for url in ["postgres://me@h/db", "postgres://h:5432/db", "postgres:///db?user=a:b@c"] {
            assert_eq!(apart(url), told(url, None));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for url in ["localhost:4222", "http://localhost", "nats://", "nats://host:many", "nats://u:secret@:1"] {
            let why = Address::parse(url, &["nats"], 4222).unwrap_err();
            assert_eq!(why, "must look like nats://host:port", "{url}");
        }
    }
}
