//! Carries a GraphQL operation out: walks what was selected, and lets the schema say what each field is.
//!
//! It knows nothing of issues. The first level is [`super::query`] and [`super::mutation`]; below it a field is the entity's
//! own value, the entity its id names, a list out of [`super::relation`], or nothing.

use std::cell::RefCell;

use apollo_compiler::ast::{self, Selection, Type};
use serde_json::{Map, Value, json};

use crate::linear::{
    document::{Document, arguments, literal},
    error::ApiError,
    filter::Filter,
    mutation, paging, query,
    relation::{connection, listed, stored_as, value},
    schema::{applies, is_composite, nothing, schema},
    world::{Actor, Row, World},
};

/// What came of an operation.
#[derive(Debug, Default)]
pub struct Executed {
    /// The answer; null if a required part of it could not be had.
    pub data: Value,
    /// What could not be had, and why.
    pub errors: Vec<Value>,
    /// The records that mutations wrote.
    pub written: Vec<String>,
}

/// Carries out an operation.
pub fn execute(
    world: &mut World,
    actor: Actor,
    document: &Document,
    operation: &ast::OperationDefinition,
    variables: &Map<String, Value>,
    limits: &Value,
) -> Executed {
    let root = schema().root_operation(operation.operation_type).map_or("", |name| name.as_str());
    let errors = RefCell::new(Vec::new());
    let unknown = RefCell::new(Vec::new());
    let mut written = Vec::new();
    let mut data = Some(Map::new());
    let mut fields = Fields::default();
    let selected = Selected { document, variables };
    selected.collect(root, &operation.selection_set, &mut fields);
    for (key, fields) in fields.0 {
        let mut path = vec![json!(key)];
        let field = fields[0];
        let value = if field.name == "__typename" {
            Some(json!(root))
        } else {
            let Ok(definition) = schema().type_field(root, &field.name) else { continue };
            let arguments = arguments(field, definition, variables);
            let resolved = if operation.operation_type.is_mutation() {
                mutation::carry_out(world, actor, &field.name, &arguments, &mut written)
            } else {
                query::resolve(world, actor, &field.name, &definition.ty, &arguments, limits)
            };
            let walk = Walk { world, actor, selected, errors: &errors, unknown: &unknown };
            walk.resolved(&definition.ty, resolved, &fields, &mut path)
        };
        match (&mut data, value) {
            (Some(data), Some(value)) => {
                data.insert(key, value);
            }
            _ => data = None,
        }
    }
    world.unknown_fields.extend(unknown.into_inner());
    Executed { data: data.map_or(Value::Null, Value::Object), errors: errors.into_inner(), written }
}

/// Fields by the key they are answered under, in the order they were asked for.
#[derive(Default)]
struct Fields<'d>(Vec<(String, Vec<&'d ast::Field>)>);

/// What a selection comes to, once fragments and conditions are seen through.
#[derive(Clone, Copy)]
struct Selected<'d> {
    document: &'d Document,
    variables: &'d Map<String, Value>,
}

struct Walk<'a> {
    world: &'a World,
    actor: Actor,
    selected: Selected<'a>,
    errors: &'a RefCell<Vec<Value>>,
    unknown: &'a RefCell<Vec<String>>,
}

// `None` is a null that a required field may not have: it makes the object around it null, and so on outwards.
impl<'a> Walk<'a> {
    fn resolved(
        &self,
        ty: &Type,
        resolved: Result<Value, ApiError>,
        fields: &[&'a ast::Field],
        path: &mut Vec<Value>,
    ) -> Option<Value> {
        match resolved {
            Ok(value) => self.complete(ty, &value, fields, path),
            Err(error) => {
                self.errors.borrow_mut().push(error.to_json(path));
                (!ty.is_non_null()).then_some(Value::Null)
            }
        }
    }

    fn complete(&self, ty: &Type, value: &Value, fields: &[&'a ast::Field], path: &mut Vec<Value>) -> Option<Value> {
        if value.is_null() {
            if ty.is_non_null() {
                let error = ApiError::internal("Cannot return null for a non-nullable field.");
                self.errors.borrow_mut().push(error.to_json(path));
                return None;
            }
            return Some(Value::Null);
        }
        let completed = if ty.is_list() {
            let mut items = Some(Vec::new());
            for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                path.push(json!(place));
                match (&mut items, self.complete(ty.item_type(), item, fields, path)) {
                    (Some(items), Some(item)) => items.push(item),
                    _ => items = None,
                }
                path.pop();
            }
            items.map(Value::Array)
        } else if is_composite(ty.inner_named_type()) {
            self.object(ty.inner_named_type(), value, fields, path)
        } else {
            Some(value.clone())
        };
        completed.or((!ty.is_non_null()).then_some(Value::Null))
    }

    fn object(&self, declared: &str, value: &Value, fields: &[&'a ast::Field], path: &mut Vec<Value>) -> Option<Value> {
        let reference = &value["$ref"];
        let (type_name, row) = match (reference[0].as_str(), reference[1].as_str(), reference[2].as_str()) {
            (Some(kind), Some(id), Some(shown_as)) => (shown_as, self.world.get(kind, id)?),
            _ => (value["__typename"].as_str().unwrap_or(declared), value.as_object()?),
        };
        let mut selected = Fields::default();
        for field in fields {
            self.selected.collect(type_name, &field.selection_set, &mut selected);
        }
        let mut object = Some(Map::new());
        for (key, fields) in selected.0 {
            path.push(json!(key));
            match (&mut object, self.field(type_name, row, &fields, path)) {
                (Some(object), Some(value)) => {
                    object.insert(key, value);
                }
                _ => object = None,
            }
            path.pop();
        }
        object.map(Value::Object)
    }

    fn field(&self, type_name: &str, row: &Row, fields: &[&'a ast::Field], path: &mut Vec<Value>) -> Option<Value> {
        let field = fields[0];
        if field.name == "__typename" {
            return Some(json!(type_name));
        }
        let Ok(definition) = schema().type_field(type_name, &field.name) else {
            self.unknown.borrow_mut().push(format!("{type_name}.{}", field.name));
            return Some(Value::Null);
        };
        let inner = definition.ty.inner_named_type().as_str();
        let owner_type = stored_as(type_name);
        let resolved = match connection(type_name, &field.name) {
            Some(element) if !row.contains_key(field.name.as_str()) => {
                let arguments = arguments(field, definition, self.selected.variables);
                let rows = listed(self.world, owner_type, row, &field.name, stored_as(element));
                filtered_page(self.world, self.actor, element, rows, &arguments)
            }
            _ => Ok(value(self.world, self.actor, owner_type, row, &field.name, inner).unwrap_or(Value::Null)),
        };
        let resolved = resolved.map(|value| {
            let missing = value.is_null() && definition.ty.is_non_null();
            missing.then(|| nothing(&definition.ty)).flatten().unwrap_or(value)
        });
        self.resolved(&definition.ty, resolved, fields, path)
    }
}

impl<'d> Selected<'d> {
    fn collect(self, type_name: &str, selections: &'d [Selection], fields: &mut Fields<'d>) {
        for selection in selections {
            match selection {
                Selection::Field(field) if self.included(&field.directives) => fields.add(field),
                Selection::InlineFragment(inline)
                    if self.included(&inline.directives)
                        && inline.type_condition.as_ref().is_none_or(|condition| applies(type_name, condition)) =>
                {
                    self.collect(type_name, &inline.selection_set, fields);
                }
                Selection::FragmentSpread(spread) if self.included(&spread.directives) => {
                    if let Some(fragment) = self.document.fragment(&spread.fragment_name)
                        && applies(type_name, &fragment.type_condition)
                    {
                        self.collect(type_name, &fragment.selection_set, fields);
                    }
                }
                _ => {}
            }
        }
    }

    fn included(self, directives: &ast::DirectiveList) -> bool {
        let condition = |name: &str| {
            let condition = directives.get(name)?.specified_argument_by_name("if")?;
            literal(condition, self.variables)?.as_bool()
        };
        condition("include").unwrap_or(true) && !condition("skip").unwrap_or(false)
    }
}

impl<'d> Fields<'d> {
    fn add(&mut self, field: &'d ast::Field) {
        let key = field.response_name().as_str();
        match self.0.iter_mut().find(|(other, _)| other == key) {
            Some((_, fields)) => fields.push(field),
            None => self.0.push((key.to_owned(), vec![field])),
        }
    }
}

/// The page of those `rows` that the arguments' filter lets through.
pub fn filtered_page(
    world: &World,
    actor: Actor,
    element: &str,
    rows: Vec<(u64, &Row)>,
    arguments: &Row,
) -> Result<Value, ApiError> {
    let kind = stored_as(element);
    let filter = Filter { world, actor };
    let wanted = arguments.get("filter").unwrap_or(&Value::Null);
    let mut matching = Vec::new();
    for (place, row) in rows {
        if filter.matches(kind, row, wanted)? {
            matching.push((place, row));
        }
    }
    paging::page(world, kind, element, matching, arguments)
}
