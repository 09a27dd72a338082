//! Decides whether an entity is what a filter asks for, whatever its type: the schema says what each field is.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::{
    clock,
    linear::{
        error::ApiError,
        relation::{connection, listed, stored_as, value},
        schema::{is_composite, schema},
        world::{Actor, Row, World},
    },
};

/// What a filter is evaluated against.
#[derive(Clone, Copy)]
pub struct Filter<'w> {
    /// All entities.
    pub world: &'w World,
    /// Who asks.
    pub actor: Actor,
}

impl Filter<'_> {
    /// Whether the entity matches every condition.
    pub fn matches(&self, kind: &str, row: &Row, filter: &Value) -> Result<bool, ApiError> {
        let Value::Object(conditions) = filter else {
            return Ok(true);
        };
        for (field, condition) in conditions {
            if !condition.is_null() && !self.condition(kind, row, field, condition)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn condition(&self, kind: &str, row: &Row, field: &str, condition: &Value) -> Result<bool, ApiError> {
        match field {
            "and" => self.all(kind, row, condition),
            "or" => {
                for option in items(condition) {
                    if self.matches(kind, row, option)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            // The entity is there.
            "null" => Ok(condition == &Value::Bool(false)),
            _ => {
                let definition = schema().type_field(kind, field).map_err(|_| unsupported(field))?;
                let inner = definition.ty.inner_named_type().as_str();
                if let Some(element) = connection(kind, field) {
                    let rows: Vec<_> =
                        listed(self.world, kind, row, field, element).into_iter().map(|(_, row)| row).collect();
                    return self.collection(element, &rows, condition);
                }
                let found = value(self.world, self.actor, kind, row, field, inner).unwrap_or(Value::Null);
                if is_composite(inner) {
                    return self.related(inner, &found, condition);
                }
                let issue_id = stored_as(kind) == "Issue" && field == "id";
                comparators(condition, |name, wanted| {
                    compare(inner, &found, name, wanted, if issue_id { row.get("identifier") } else { None })
                })
            }
        }
    }

    fn all(&self, kind: &str, row: &Row, filters: &Value) -> Result<bool, ApiError> {
        for filter in items(filters) {
            if !self.matches(kind, row, filter)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn related(&self, kind: &str, found: &Value, condition: &Value) -> Result<bool, ApiError> {
        let other = found["$ref"][1].as_str().and_then(|id| self.world.get(kind, id));
        match other {
            Some(other) => self.matches(kind, other, condition),
            None => Ok(condition["null"] == Value::Bool(true)),
        }
    }

    /// A list matches by `some`, `every` or `length`; conditions without any of them mean `some`.
    fn collection(&self, kind: &str, rows: &[&Row], condition: &Value) -> Result<bool, ApiError> {
        let Value::Object(conditions) = condition else {
            return Ok(true);
        };
        let mut direct = Map::new();
        for (name, wanted) in conditions {
            let holds = match name.as_str() {
                "some" => self.any(kind, rows, wanted)?,
                "every" => {
                    let mut every = true;
                    for row in rows {
                        every &= self.matches(kind, row, wanted)?;
                    }
                    every
                }
                "length" => {
                    comparators(wanted, |name, wanted| compare("Float", &rows.len().into(), name, wanted, None))?
                }
                "null" => rows.is_empty() == (wanted == &Value::Bool(true)),
                _ => {
                    direct.insert(name.clone(), wanted.clone());
                    true
                }
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(direct.is_empty() || self.any(kind, rows, &Value::Object(direct))?)
    }

    fn any(&self, kind: &str, rows: &[&Row], filter: &Value) -> Result<bool, ApiError> {
        for row in rows {
            if self.matches(kind, row, filter)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn unsupported(what: &str) -> ApiError {
    ApiError::input(format!("This sandbox cannot filter by \"{what}\""))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn comparators(condition: &Value, check: impl Fn(&str, &Value) -> Result<bool, ApiError>) -> Result<bool, ApiError> {
    for (name, wanted) in condition.as_object().into_iter().flatten() {
        // Null as an operand is an operand left out, but for equality.
        if wanted.is_null() && !matches!(name.as_str(), "eq" | "neq") {
            continue;
        }
        if !check(name, wanted)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn compare(scalar: &str, found: &Value, name: &str, wanted: &Value, alias: Option<&Value>) -> Result<bool, ApiError> {
    let equal = |wanted: &Value| -> Result<bool, ApiError> {
        Ok(order(scalar, found, wanted)? == Some(Ordering::Equal) || alias.is_some_and(|alias| alias == wanted))
    };
    let ordered = |accept: fn(Ordering) -> bool| -> Result<bool, ApiError> {
        Ok(order(scalar, found, wanted)?.is_some_and(accept))
    };
    let any = || items(wanted).iter().try_fold(false, |any, one| Ok::<_, ApiError>(any || equal(one)?));
    Ok(match name {
        "eq" => equal(wanted)?,
        "neq" => !equal(wanted)?,
        "in" => any()?,
        "nin" => !any()?,
        "gt" => ordered(Ordering::is_gt)?,
        "gte" => ordered(Ordering::is_ge)?,
        "lt" => ordered(Ordering::is_lt)?,
        "lte" => ordered(Ordering::is_le)?,
        "null" => found.is_null() == (wanted == &Value::Bool(true)),
        _ => texts(found.as_str().unwrap_or_default(), name, wanted.as_str().unwrap_or_default())?,
    })
}

fn texts(found: &str, name: &str, wanted: &str) -> Result<bool, ApiError> {
    let (lower, wanted_lower) = (found.to_lowercase(), wanted.to_lowercase());
    Ok(match name {
        "contains" => found.contains(wanted),
        "notContains" => !found.contains(wanted),
        "startsWith" => found.starts_with(wanted),
        "notStartsWith" => !found.starts_with(wanted),
        "endsWith" => found.ends_with(wanted),
        "notEndsWith" => !found.ends_with(wanted),
        "eqIgnoreCase" => lower == wanted_lower,
        "neqIgnoreCase" => lower != wanted_lower,
        "containsIgnoreCase" => lower.contains(&wanted_lower),
        "notContainsIgnoreCase" => !lower.contains(&wanted_lower),
        "startsWithIgnoreCase" => lower.starts_with(&wanted_lower),
        _ => return Err(unsupported(name)),
    })
}

/// How a value stands to a wanted one; nothing is neither more nor less than anything.
fn order(scalar: &str, found: &Value, wanted: &Value) -> Result<Option<Ordering>, ApiError> {
    if scalar == "DateTime" || scalar == "TimelessDate" {
        if found.is_null() || wanted.is_null() {
            return Ok((found.is_null() && wanted.is_null()).then_some(Ordering::Equal));
        }
        let wanted = time(wanted)?;
        return Ok(found.as_str().and_then(clock::parse).map(|found| found.cmp(&wanted)));
    }
    if let (Some(found), Some(wanted)) = (found.as_f64(), wanted.as_f64()) {
        return Ok(found.partial_cmp(&wanted));
    }
    if let (Some(found), Some(wanted)) = (found.as_str(), wanted.as_str()) {
        return Ok(Some(found.cmp(wanted)));
    }
    Ok((found == wanted).then_some(Ordering::Equal))
}

/// A point in time: a date, or an ISO 8601 duration from now (`-P2W`).
fn time(wanted: &Value) -> Result<i64, ApiError> {
    let invalid = || ApiError::input(format!("{wanted} is not a date or a duration"));
    let text = wanted.as_str().ok_or_else(invalid)?;
    clock::parse(text).or_else(|| duration_ms(text).map(|length| clock::now_ms() + length)).ok_or_else(invalid)
}

fn duration_ms(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (days, hours) = text.strip_prefix('P')?.split_once('T').unwrap_or((text.strip_prefix('P')?, ""));
    let day = 86_400_000;
    let units = |text: &str, units: &[(char, i64)]| -> Option<i64> {
        let (mut sum, mut digits) = (0, String::new());
        for letter in text.chars() {
            if letter.is_ascii_digit() {
                digits.push(letter);
            } else {
                let (_, length) = units.iter().find(|(unit, _)| *unit == letter)?;
                sum += digits.parse::<i64>().ok()?.checked_mul(*length)?;
                digits.clear();
            }
        }
        digits.is_empty().then_some(sum)
    };
    let days = units(days, &[('Y', 365 * day), ('M', 30 * day), ('W', 7 * day), ('D', day)])?;
    Some(sign * (days + units(hours, &[('H', 3_600_000), ('M', 60_000), ('S', 1_000)])?))
}
