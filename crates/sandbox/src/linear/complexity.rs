//! What a request costs: a tenth for each scalar, one for each object, and a list's cost times the entries asked for.

use apollo_compiler::ast::{self, Selection};
use serde_json::{Map, Value};

use crate::linear::{
    document::{Document, arguments},
    schema::{is_composite, node_type, schema},
};

/// The most that one request may cost.
pub const MAX: u64 = 10_000;

/// How many entries a list has when the request does not say.
const DEFAULT_FIRST: f64 = 50.0;
/// Deeper than this nothing is counted; the cost is far over the maximum by then.
const DEPTH_MAX: u32 = 32;

/// The cost of an operation, rounded up.
pub fn of(document: &Document, operation: &ast::OperationDefinition, variables: &Map<String, Value>) -> u64 {
    let root = schema().root_operation(operation.operation_type).map_or("", |name| name.as_str());
    let cost = Cost { document, variables }.selections(root, &operation.selection_set, 0);
    // Costs are small positive numbers; a saturating cast is what is meant for absurd ones.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and costs are positive"
    )]
    let whole = cost.ceil() as u64;
    whole
}

struct Cost<'a> {
    document: &'a Document,
    variables: &'a Map<String, Value>,
}

impl Cost<'_> {
    fn selections(&self, type_name: &str, selections: &[Selection], depth: u32) -> f64 {
        if depth > DEPTH_MAX {
            return 0.0;
        }
        selections.iter().map(|selection| self.selection(type_name, selection, depth)).sum()
    }

    fn selection(&self, type_name: &str, selection: &Selection, depth: u32) -> f64 {
        match selection {
            Selection::Field(field) => self.field(type_name, field, depth),
            Selection::InlineFragment(inline) => {
                let name = inline.type_condition.as_ref().map_or(type_name, |name| name.as_str());
                self.selections(name, &inline.selection_set, depth + 1)
            }
            Selection::FragmentSpread(spread) => self
                .document
                .fragment(&spread.fragment_name)
                .map_or(0.0, |fragment| self.selections(&fragment.type_condition, &fragment.selection_set, depth + 1)),
        }
    }

    fn field(&self, type_name: &str, field: &ast::Field, depth: u32) -> f64 {
        let Ok(definition) = schema().type_field(type_name, &field.name) else {
            return 0.1;
        };
        let inner = definition.ty.inner_named_type().as_str();
        if !is_composite(inner) {
            return 0.1;
        }
        let below = self.selections(inner, &field.selection_set, depth + 1);
        if node_type(inner).is_none() {
            return 1.0 + below;
        }
        let arguments = arguments(field, definition, self.variables);
        let entries = ["first", "last"].iter().find_map(|name| arguments.get(*name)?.as_f64());
        1.0 + below * entries.unwrap_or(DEFAULT_FIRST)
    }
}
