//! Access from outside: real tokens, a real bus for tickets, a real server for the issuer's keys.

mod issuer;
mod keys;
mod tickets;
mod tokens;

use bus::testing::Server;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use runtime::Problem;
use serde_json::{Value, json};

use super::*;

const NOW_MS: i64 = 1_800_000_000_000;
const NOW_S: i64 = NOW_MS / 1_000;

struct World {
    server: Server,
    access: Access,
}

/// Access by a section, with a bus of its own.
async fn world(section: Value) -> World {
    let server = Server::start().unwrap();
    let process = Process::new("broadcaster", None);
    let bus = Bus::connect(&server.config(), &process).await.unwrap();
    bus.ensure_topology().await.unwrap();
    let access = Access::new(&config(&section), &process, &bus).await.unwrap();
    World { server, access }
}

fn config(section: &Value) -> Config {
    let config: Config = runtime::config::section("broadcaster.auth", section).unwrap();
    config.check([]).unwrap();
    config
}

/// Somebody who signs tokens.
#[derive(Clone)]
struct Signer {
    kid: Option<&'static str>,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn rsa() -> Self {
        Self::of(Some("rsa"), Algorithm::RS256, include_bytes!("tests/rsa-for-tests.pem"))
    }

    fn next_rsa() -> Self {
        Self::of(Some("next"), Algorithm::RS256, include_bytes!("tests/next-rsa-for-tests.pem"))
    }

    fn weak_rsa() -> Self {
        Self::of(Some("weak"), Algorithm::RS256, include_bytes!("tests/weak-rsa-for-tests.pem"))
    }

    fn ec() -> Self {
        Self::of(Some("ec"), Algorithm::ES256, include_bytes!("tests/ec-for-tests.pem"))
    }

    fn ec_384() -> Self {
        Self::of(Some("ec-384"), Algorithm::ES384, include_bytes!("tests/ec-384-for-tests.pem"))
    }

    fn secret(secret: &str) -> Self {
        Self { kid: None, algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret.as_bytes()) }
    }

    fn of(kid: Option<&'static str>, algorithm: Algorithm, pem: &[u8]) -> Self {
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        };
        Self { kid, algorithm, key: key.unwrap() }
    }

    fn with(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    fn named(self, kid: Option<&'static str>) -> Self {
        Self { kid, ..self }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: self.kid.map(str::to_owned), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).unwrap()
    }

    /// A token that counts for a minute.
    fn token(&self) -> String {
        self.sign(&json!({"exp": NOW_S + 60, "sub": "ana", "rooms": ["agent:*"]}))
    }

    /// The public key as an issuer publishes it.
    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = self.kid.map(str::to_owned);
        jwk.common.key_algorithm = Some(KeyAlgorithm::from(self.algorithm));
        serde_json::to_value(jwk).unwrap()
    }
}

fn published(signers: &[Signer]) -> Value {
    json!({"keys": signers.iter().map(Signer::public).collect::<Vec<_>>()})
}

fn bearer(shown: &str) -> Credential {
    Credential::Bearer(shown.into())
}
