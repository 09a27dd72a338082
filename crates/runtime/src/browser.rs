//! Decides what browsers may do with the HTTP APIs: which pages may call them, and under which names they may be called where no key
//! guards them. The section `[http]`.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::Problem;
use crate::config::ConfigError;

/// For how long a browser may remember that a page may ask.
const REMEMBERED: Duration = Duration::from_mins(10);

/// The section `[http]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// The origins, beside our own address, whose pages may call and watch: `https://status.example.com`.
    pub origins: Vec<String>,
    /// The names, beside addresses, `localhost` and names without a dot, under which an API that no key guards may be called. A leading
    /// `*.` stands for whatever is before the rest; `*` alone is every name.
    pub hosts: Vec<String>,
}

impl HttpConfig {
    /// Refuses what no browser would ever say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let is_origin = |origin: &&String| {
            let place = origin.split_once("://").map(|(_, place)| place);
            place.is_some_and(|place| !place.is_empty() && !place.contains(['/', '*', ' ']))
        };
        if let Some(wrong) = self.origins.iter().find(|origin| !is_origin(origin)) {
            let why =
                format!("{wrong:?} is no origin; it is written as in \"https://status.example.com\", without a path");
            return Err(ConfigError::new("http.origins", why));
        }
        let is_name = |name: &&String| {
            let rest = name.strip_prefix("*.").unwrap_or(name);
            *name == "*" || !(rest.is_empty() || rest.contains(['/', ':', '*', ' ']))
        };
        match self.hosts.iter().find(|name| !is_name(name)) {
            Some(wrong) => {
                let why = format!(
                    "{wrong:?} is no host name; it is written as in \"lockstep.internal\" or \"*.internal\", without a port"
                );
                Err(ConfigError::new("http.hosts", why))
            }
            None => Ok(()),
        }
    }

    /// Lets a page open a WebSocket, or ask for what a browser does not ask about before, or says why not: it says where the page came from.
    pub fn admit_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let known = origin.to_str().is_ok_and(|origin| {
            let own = origin.split_once("://").map(|(_, place)| place);
            (own.is_some() && own == host) || self.origins.iter().any(|known| known == origin)
        });
        let detail = "pages of this origin may not connect; name it in http.origins";
        if known { Ok(()) } else { Err(Problem::forbidden("origin_not_allowed", detail)) }
    }

    /// Lets a request pass that no key guards, or says why not. A page's own name can be made to lead to this machine, and to a browser it
    /// is then of our origin; but what the browser calls us by stays that name.
    pub fn admit_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        // A browser always says it; of a request whose target names the host that stands here.
        let Some(host) = headers.get(header::HOST) else { return Ok(()) };
        let known = host.to_str().is_ok_and(|host| self.is_known(host));
        let detail =
            "nothing guards this API, so it is not served under this name; name it in http.hosts, or set a key";
        if known { Ok(()) } else { Err(Problem::forbidden("host_not_allowed", detail)) }
    }

    fn is_known(&self, host: &str) -> bool {
        if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            return address.parse::<Ipv6Addr>().is_ok();
        }
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        // Nobody outside can have a name without a dot, as containers call each other by, or one under `localhost`.
        let is_local = |name: &str| !name.contains('.') || name.ends_with(".localhost");
        let of_origin = |origin: &String| origin.split_once("://").is_some_and(|(_, place)| place == host);
        is_local(&name)
            || name.parse::<std::net::Ipv4Addr>().is_ok()
            || self.hosts.iter().any(|known| is_meant(known, &name))
            || self.origins.iter().any(of_origin)
    }

    /// Of the addresses of an API that no key guards, one that other machines reach, where nobody said by which names.
    pub(crate) fn unnamed(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> Option<SocketAddr> {
        self.hosts.is_empty().then(|| addresses.into_iter().find(|address| !address.ip().is_loopback())).flatten()
    }

    /// What a browser is answered that asks whether a page of another origin may call us; nothing where none may.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        let origins: Vec<HeaderValue> =
            self.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        let named = |name| HeaderName::from_static(name);
        (!origins.is_empty()).then(|| {
            CorsLayer::new()
                .allow_origin(AllowOrigin::list(origins))
                .allow_methods([Method::GET, Method::POST, Method::DELETE])
                .allow_headers([
                    header::AUTHORIZATION,
                    header::CONTENT_TYPE,
                    named("x-api-key"),
                    named("last-event-id"),
                    named("idempotency-key"),
                    named("traceparent"),
                ])
                .expose_headers([header::RETRY_AFTER, named("x-request-id")])
                .max_age(REMEMBERED)
        })
    }
}

/// Whether an entry of `hosts` means a name, which is in small letters.
fn is_meant(known: &str, name: &str) -> bool {
    let known = known.to_ascii_lowercase();
    match known.strip_prefix('*') {
        // With its dot: `evilinternal` is not below `*.internal`.
        Some(end) => name.strip_suffix(end).is_some_and(|before| !before.is_empty()),
        None => known == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> HttpConfig {
        HttpConfig { origins: vec!["https://status.example".into()], hosts: vec!["Lockstep.internal".into()] }
    }

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_page_may_connect_from_our_own_address_or_a_named_one() {
        let allowed = |origin| config().admit_origin(&headers("localhost:8080", origin)).is_ok();
        assert!(allowed(None) && allowed(Some("http://localhost:8080")) && allowed(Some("https://status.example")));
        assert!(!allowed(Some("https://evil.example")) && !allowed(Some("null")));
    }

    #[test]
    fn what_nothing_guards_is_served_under_names_that_nobody_else_can_have() {
        let allowed = |host| config().admit_host(&headers(host, None)).is_ok();
        for ours in [
            "127.0.0.1:8082",
            "10.1.2.3",
            "[::1]:8080",
            "localhost:8080",
            "a.localhost",
            "ingest:8080",
            "lockstep.internal:80",
            "LOCKSTEP.INTERNAL.",
            "status.example",
        ] {
            assert!(allowed(ours), "{ours}");
        }
        for other in
            ["evil.example:8082", "127.0.0.1.evil.example", "[evil.example]:80", "localhost.evil.example", "evil."]
        {
            assert_eq!(allowed(other), other == "evil.", "{other}");
        }
        assert!(HttpConfig::default().admit_host(&HeaderMap::new()).is_ok());
        let allowed = |known: &str, host| {
            let config = HttpConfig { hosts: vec![known.into()], ..HttpConfig::default() };
            config.check().unwrap();
            config.admit_host(&headers(host, None)).is_ok()
        };
        assert!(
            allowed("*.svc.Cluster.local", "ingest.lockstep.SVC.cluster.local:8080") && allowed("*", "evil.example")
        );
        assert!(!allowed("*.svc.cluster.local", "evil-svc.cluster.local"));
        assert!(!allowed("*.svc.cluster.local", ".svc.cluster.local"));
    }

    #[test]
    fn what_others_reach_under_names_that_nobody_said_is_known() {
        let unnamed = |hosts: &[&str], address: &str| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            HttpConfig { hosts, ..HttpConfig::default() }.unnamed([address.parse().unwrap()]).is_some()
        };
        assert!(unnamed(&[], "0.0.0.0:80") && unnamed(&[], "10.0.0.1:80"));
        assert!(!unnamed(&[], "127.0.0.1:80") && !unnamed(&["*"], "0.0.0.0:80"));
    }

    #[test]
    fn what_is_no_origin_or_name_is_refused_by_its_key() {
        assert!(config().check().is_ok());
        let key = |origin: &str, host: &str| {
            let config = HttpConfig { origins: vec![origin.into()], hosts: vec![host.into()] };
            config.check().map_err(|error| error.key)
        };
        for wrong in ["status.example", "https://", "https://status.example/", "*", "https://*.example"] {
            assert_eq!(key(wrong, "a"), Err("http.origins".into()), "{wrong}");
        }
        for wrong in ["", "lockstep.internal:8080", "http://lockstep.internal", "*.", "a.*", "*internal", "*.*"] {
            assert_eq!(key("https://a", wrong), Err("http.hosts".into()), "{wrong}");
        }
    }
}
