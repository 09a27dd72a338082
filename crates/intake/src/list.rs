//! One thing or a list of them, as requests bring them: all are good, or none is taken.

use serde_json::Value;

use crate::refused::Wrong;
use crate::{Fault, Refused};

/// What a list is made of, in the words of its answers.
pub(crate) struct Kind {
    /// "status".
    pub(crate) one: &'static str,
    /// "statuses", which is also the member under which a list may stand.
    pub(crate) several: &'static str,
    /// How many one request may bring.
    pub(crate) max: usize,
    /// The code for too many.
    pub(crate) too_many: &'static str,
    /// The code for wrong ones.
    pub(crate) bad: &'static str,
}

impl Kind {
    /// The things of a body: one object, a list, or a list under the kind's name. At least one.
    pub(crate) fn of(&self, body: Value) -> Result<Vec<Value>, Refused> {
        let Self { one, several, max, .. } = self;
        let malformed = |detail: String| Err(Refused::malformed(detail));
        let list = match body {
            Value::Array(list) => list,
            Value::Object(mut object) if object.contains_key(*several) => {
                match (object.remove(*several), object.len()) {
                    (Some(Value::Array(list)), 0) => list,
                    (_, 0) => return malformed(format!("{several} must be a list")),
                    _ => return malformed(format!("beside {several} there must be nothing else")),
                }
            }
            object @ Value::Object(_) => vec![object],
            _ => {
                return malformed(format!("the body must be {one}, a list of them, or {{\"{several}\": […]}}"));
            }
        };
        match list.len() {
            0 => malformed(format!("there must be at least one {}", one.split(' ').next_back().unwrap_or(one))),
            count if count <= *max => Ok(list),
            count => {
                let detail = format!("{count} {several} are too many for one request; send at most {max}");
                Err(Refused { fault: Fault::Count, code: self.too_many, detail, errors: Vec::new() })
            }
        }
    }

    /// Each thing of a list, checked by `check` with its place; all that are wrong are named.
    pub(crate) fn checked<T>(
        &self,
        list: Vec<Value>,
        mut check: impl FnMut(Value, usize) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, Refused> {
        let count = list.len();
        let mut good = Vec::with_capacity(count);
        let mut errors: Vec<Value> = Vec::new();
        for (index, thing) in list.into_iter().enumerate() {
            match check(thing, index) {
                Ok(thing) => good.push(thing),
                Err(wrong) => errors.push(wrong.at(index)),
            }
        }
        if errors.is_empty() {
            return Ok(good);
        }
        let detail = format!("{} of {count} {} are wrong; nothing was stored", errors.len(), self.several);
        Err(Refused { fault: Fault::Content, code: self.bad, detail, errors })
    }
}
