//! Reads addresses from what the executable writes when it is ready.

use std::net::SocketAddr;

use serde_json::Value;

/// The address of a system: a string, or an object's `api_url` or `url`.
pub fn of(addresses: &Value, system: &str) -> Option<String> {
    one(addresses.get(system)?)
}

/// All addresses of a system that may have several.
pub fn all(addresses: &Value, system: &str) -> Vec<String> {
    match addresses.get(system) {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(Value::Object(object)) if one(&Value::Object(object.clone())).is_none() => {
            object.values().filter_map(one).collect()
        }
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Every address with its name, for people.
pub fn named(addresses: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect("", addresses, &mut found);
    found
}

fn one(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("api_url")?.as_str()).or_else(|| value.get("url")?.as_str())?;
    Some(text.to_owned())
}

fn collect(name: &str, value: &Value, found: &mut Vec<(String, String)>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name} {key}") };
    match value {
        Value::String(text) if text.contains("://") => found.push((name.to_owned(), text.clone())),
        Value::String(text) if text.parse::<SocketAddr>().is_ok() => {
            found.push((name.to_owned(), format!("http://{text}")));
        }
        Value::Object(object) => {
            for (key, value) in object {
                let key = if key == "url" { name.to_owned() } else { below(key) };
                collect(&key, value, found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                let key = value
                    .get("name")
                    .and_then(Value::as_str)
                    .map_or_else(|| below(&(index + 1).to_string()), str::to_owned);
                collect(&key, value, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_found_in_either_form() {
        let plain = json!({"linear": "http://a/graphql", "agents": ["http://b", "http://c"]});
        assert_eq!(of(&plain, "linear").as_deref(), Some("http://a/graphql"));
        assert_eq!(all(&plain, "agents"), ["http://b", "http://c"]);
        let rich = json!({"linear": {"url": "http://a", "api_url": "http://a/graphql"}, "agents": {"agent-1": {"url": "http://b"}}});
        assert_eq!(of(&rich, "linear").as_deref(), Some("http://a/graphql"));
        assert_eq!(all(&rich, "agents"), ["http://b"]);
        assert_eq!(of(&rich, "github"), None);
    }

    #[test]
    fn every_address_has_a_name_and_nothing_else_is_shown() {
        let addresses = json!({"linear": {"url": "http://a", "token": "secret"}, "agents": ["127.0.0.1:1"]});
        let expected =
            [("agents 1".to_owned(), "http://127.0.0.1:1".to_owned()), ("linear".to_owned(), "http://a".to_owned())];
        assert_eq!(named(&addresses), expected);
    }
}
