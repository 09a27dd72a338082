//! What handlers share: reading a request's body and query, and cutting a list into pages with `Link` headers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;

use super::refusal::{Outcome, Refusal};

/// Who is calling.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    /// The account that edits are made by.
    pub(super) login: String,
    /// Whether the credential is a person's own, and not an app's or bot's.
    pub(super) is_person: bool,
    /// What the primary limit is counted by.
    pub(super) credential: String,
}

/// The query parameters of lists; each list uses those that GitHub has there.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    pub(super) state: Option<String>,
    pub(super) since: Option<String>,
    pub(super) labels: Option<String>,
    pub(super) creator: Option<String>,
    pub(super) head: Option<String>,
    pub(super) base: Option<String>,
    pub(super) sort: Option<String>,
    pub(super) direction: Option<String>,
    pub(super) per_page: Option<String>,
    pub(super) page: Option<String>,
    pub(super) cursor: Option<String>,
    pub(super) status: Option<String>,
}

impl ListQuery {
    /// How many there are on a page: 30 unless told, 100 at most.
    pub(super) fn per_page(&self) -> usize {
        let asked = self.per_page.as_deref().and_then(|n| n.parse().ok()).unwrap_or(30);
        asked.clamp(1, 100)
    }

    fn page(&self) -> usize {
        self.page.as_deref().and_then(|n| n.parse().ok()).unwrap_or(1).max(1)
    }
}

/// The fields of a JSON body; an empty body has none.
pub(super) fn fields(body: &[u8]) -> Outcome<Value> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
    if value.is_object() || value.is_array() {
        Ok(value)
    } else {
        Err(Refusal::new(StatusCode::BAD_REQUEST, "Body should be a JSON object"))
    }
}

/// A string field, `None` where it is absent or null.
pub(super) fn text(fields: &Value, resource: &str, name: &str) -> Outcome<Option<String>> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::invalid(resource, name, "invalid")),
    }
}

/// A string field that must be there.
pub(super) fn required(fields: &Value, resource: &str, name: &str) -> Outcome<String> {
    text(fields, resource, name)?.ok_or_else(|| Refusal::invalid(resource, name, "missing_field"))
}

/// Label names: a list of strings, or of objects with a `name`.
pub(super) fn label_names(value: &Value) -> Outcome<Vec<String>> {
    let items = value.as_array().ok_or_else(|| Refusal::invalid("Label", "labels", "invalid"))?;
    let name = |item: &Value| item.as_str().or_else(|| item["name"].as_str()).map(str::to_owned);
    items.iter().map(|item| name(item).ok_or_else(|| Refusal::invalid("Label", "name", "invalid"))).collect()
}

/// One page of `all`, each item made JSON by `show`, with the `Link` header that leads to the other pages.
pub(super) fn page_of<T>(all: &[T], query: &ListQuery, uri: &Uri, base: &str, show: impl Fn(&T) -> Value) -> Response {
    let (size, page) = (query.per_page(), query.page());
    let last = all.len().div_ceil(size).max(1);
    let shown: Vec<Value> = all.iter().skip((page - 1).saturating_mul(size)).take(size).map(show).collect();
    let mut links = Vec::new();
    if page > 1 {
        links.push((page - 1, "prev"));
    }
    if page < last {
        links.extend([(page + 1, "next"), (last, "last")]);
    }
    if page > 1 {
        links.push((1, "first"));
    }
    let link = |(page, rel): &(usize, &str)| {
        format!("<{}>; rel=\"{rel}\"", with_parameter(uri, base, "page", &page.to_string()))
    };
    let header = links.iter().map(link).collect::<Vec<_>>().join(", ");
    linked(Json(Value::Array(shown)).into_response(), &header)
}

/// The response with a `Link` header, if there is anything to link to.
pub(super) fn linked(mut response: Response, links: &str) -> Response {
    if let (false, Ok(value)) = (links.is_empty(), links.parse()) {
        response.headers_mut().insert(LINK, value);
    }
    response
}

/// The request's own address with one query parameter replaced.
pub(super) fn with_parameter(uri: &Uri, base: &str, name: &str, value: &str) -> String {
    let same = |pair: &&str| pair.split('=').next() == Some(name);
    let kept = uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty() && !same(pair));
    let own = format!("{name}={value}");
    let query = kept.map(str::to_owned).chain([own]).collect::<Vec<_>>().join("&");
    format!("{base}{}?{query}", uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(total: usize, uri: &'static str, query: &ListQuery) -> Option<String> {
        let all: Vec<usize> = (0..total).collect();
        let response = page_of(&all, query, &Uri::from_static(uri), "http://h", |n| Value::from(*n));
        response.headers().get(LINK).and_then(|link| link.to_str().ok()).map(str::to_owned)
    }

    #[test]
    fn a_middle_page_links_to_its_neighbours_and_keeps_the_other_parameters() {
        let query = ListQuery { per_page: Some("2".into()), page: Some("2".into()), ..ListQuery::default() };
        let link = links(5, "/x?per_page=2&page=2&state=all", &query).unwrap();
        assert!(link.contains("<http://h/x?per_page=2&state=all&page=1>; rel=\"prev\""), "{link}");
        assert!(link.contains("page=3>; rel=\"next\""), "{link}");
        assert!(link.contains("page=3>; rel=\"last\""), "{link}");
    }

    #[test]
    fn a_list_of_one_page_has_no_links() {
        assert_eq!(links(30, "/x", &ListQuery::default()), None);
    }
}
