//! Reads a GraphQL request and holds it against the schema, once for each text.
//!
//! Clients are newer than the packaged schema. So a field, argument or type that the schema does not know is let through
//! below the top level, to be answered with null; everything else that does not fit is refused as Linear refuses it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use apollo_compiler::{
    ExecutableDocument, Node,
    ast::{self, Definition, Selection, Value as Literal},
    request::coerce_variable_values,
    response::JsonMap,
    validation::Valid,
};
use serde_json::{Map, Value};

use crate::linear::{error::ApiError, schema::schema};

/// How many parsed documents are kept.
const CACHE_MAX: usize = 512;

/// What a newer schema may know and this one does not.
const UNKNOWN: [&str; 5] = [
    "UndefinedField",
    "UndefinedArgument",
    "UndefinedDefinition",
    "UndefinedTypeInNamedFragmentTypeCondition",
    "UndefinedTypeInInlineFragmentTypeCondition",
];
/// What seems wrong once the unknown is left out.
const KNOCK_ON: [&str; 5] =
    ["UnusedFragment", "UnusedVariable", "MissingSubselection", "UndefinedFragment", "InvalidFragmentTarget"];

/// A request's document, read.
#[derive(Debug)]
pub struct Document {
    ast: ast::Document,
    /// The document as the schema sees it; absent if it names what the schema does not know.
    strict: Option<Valid<ExecutableDocument>>,
}

/// Documents by their text.
#[derive(Debug, Default)]
pub struct Documents(Mutex<HashMap<String, Arc<Document>>>);

impl Documents {
    /// Reads a document, or remembers it.
    pub fn read(&self, text: &str) -> Result<Arc<Document>, ApiError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = known.get(text) {
            return Ok(Arc::clone(document));
        }
        let document = Arc::new(Document::read(text)?);
        if known.len() >= CACHE_MAX {
            known.clear();
        }
        known.insert(text.to_owned(), Arc::clone(&document));
        Ok(document)
    }
}

impl Document {
    /// Reads a document.
    pub fn read(text: &str) -> Result<Self, ApiError> {
        let ast = ast::Document::parse(text, "request.graphql")
            .map_err(|invalid| ApiError::syntax(format!("Syntax Error: {}", first(&invalid.errors))))?;
        let strict = match ast.to_executable_validate(schema()) {
            Ok(document) => Some(document),
            Err(invalid) => {
                let names: Vec<_> =
                    invalid.errors.iter().map(|error| error.error.unstable_error_name().unwrap_or("")).collect();
                let newer = names.iter().any(|name| UNKNOWN.contains(name));
                let tolerable = |name: &str| UNKNOWN.contains(&name) || newer && KNOCK_ON.contains(&name);
                if let Some(place) = names.iter().position(|name| !tolerable(name)) {
                    let error = invalid.errors.iter().nth(place).map(|error| error.error.to_string());
                    return Err(ApiError::validation(error.unwrap_or_default()));
                }
                None
            }
        };
        let document = Self { ast, strict };
        document.check_top_level()?;
        Ok(document)
    }

    /// The operation to execute: the named one, or the only one.
    pub fn operation(&self, name: Option<&str>) -> Result<&Node<ast::OperationDefinition>, ApiError> {
        let mut operations = self.operations().filter(|operation| {
            name.is_none_or(|name| operation.name.as_ref().is_some_and(|other| other.as_str() == name))
        });
        match (operations.next(), operations.next()) {
            (Some(operation), None) => Ok(operation),
            (None, _) => {
                Err(ApiError::validation(format!("Unknown operation named \"{}\".", name.unwrap_or_default())))
            }
            _ => Err(ApiError::validation("Must provide operation name if query contains multiple operations.")),
        }
    }

    /// The fragment of this name.
    pub fn fragment(&self, name: &str) -> Option<&Node<ast::FragmentDefinition>> {
        self.ast
            .definitions
            .iter()
            .filter_map(Definition::as_fragment_definition)
            .find(|fragment| fragment.name.as_str() == name)
    }

    /// The variables with their defaults, checked against their types.
    pub fn variables(
        &self,
        operation: &ast::OperationDefinition,
        given: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ApiError> {
        if let Some(strict) = &self.strict {
            let name = operation.name.as_ref().map(apollo_compiler::Name::as_str);
            let checked =
                strict.operations.get(name).map_err(|error| ApiError::validation(error.message().to_string()))?;
            let values: JsonMap = serde_json::from_value(Value::Object(given.clone()))
                .map_err(|error| ApiError::validation(error.to_string()))?;
            coerce_variable_values(schema(), checked, &values)
                .map_err(|error| ApiError::validation(error.message().to_string()))?;
        }
        let mut variables = given.clone();
        for variable in &operation.variables {
            if let Some(default) = &variable.default_value
                && !variables.contains_key(variable.name.as_str())
                && let Some(value) = literal(default, &Map::new())
            {
                variables.insert(variable.name.to_string(), value);
            }
        }
        Ok(variables)
    }

    fn operations(&self) -> impl Iterator<Item = &Node<ast::OperationDefinition>> {
        self.ast.definitions.iter().filter_map(Definition::as_operation_definition)
    }

    /// At the top level nothing is tolerated: there null would be a wrong answer, not a missing detail.
    fn check_top_level(&self) -> Result<(), ApiError> {
        for operation in self.operations() {
            let root = schema().root_operation(operation.operation_type);
            let Some(root) = root.filter(|_| !operation.operation_type.is_subscription()) else {
                return Err(ApiError::validation("Subscriptions are not served over HTTP."));
            };
            for field in operation.selection_set.iter().filter_map(Selection::as_field) {
                if schema().type_field(root, &field.name).is_err() {
                    return Err(ApiError::validation(format!(
                        "Cannot query field \"{}\" on type \"{root}\".",
                        field.name
                    )));
                }
            }
        }
        Ok(())
    }
}

/// A literal as JSON; `None` where it is a variable that was not given.
pub fn literal(value: &Literal, variables: &Map<String, Value>) -> Option<Value> {
    Some(match value {
        Literal::Null => Value::Null,
        Literal::Enum(name) => Value::String(name.to_string()),
        Literal::Variable(name) => return variables.get(name.as_str()).cloned(),
        Literal::String(text) => Value::String(text.clone()),
        Literal::Float(number) => serde_json::from_str(number.as_str()).ok()?,
        Literal::Int(number) => serde_json::from_str(number.as_str()).ok()?,
        Literal::Boolean(value) => Value::Bool(*value),
        Literal::List(items) => items.iter().filter_map(|item| literal(item, variables)).collect(),
        Literal::Object(fields) => {
            let field = |(name, value): &(apollo_compiler::Name, Node<Literal>)| {
                Some((name.to_string(), literal(value, variables)?))
            };
            Value::Object(fields.iter().filter_map(field).collect())
        }
    })
}

/// A field's arguments, with the schema's defaults.
pub fn arguments(
    field: &ast::Field,
    definition: &ast::FieldDefinition,
    variables: &Map<String, Value>,
) -> Map<String, Value> {
    let mut arguments = Map::new();
    for known in &definition.arguments {
        let given = field.arguments.iter().find(|argument| argument.name == known.name);
        let value = given.map(|argument| &argument.value).and_then(|value| literal(value, variables));
        let default = || known.default_value.as_ref().and_then(|value| literal(value, variables));
        if let Some(value) = value.or_else(default) {
            arguments.insert(known.name.to_string(), value);
        }
    }
    arguments
}

fn first(errors: &apollo_compiler::validation::DiagnosticList) -> String {
    errors.iter().next().map(|error| error.error.to_string()).unwrap_or_default()
}
