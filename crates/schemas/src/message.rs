//! The schema of one message in its JSON form: the field names of the `.proto` file, numbers as numbers.

use anyhow::{Context as _, bail};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, MessageOptions};
use serde_json::{Map, Value, json};

use crate::PACKAGE;
use crate::comments::Comments;

/// A message.
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// In their order.
    pub(crate) fields: Vec<Field>,
}

/// One field of it.
pub(crate) struct Field {
    pub(crate) name: String,
    /// The message that it holds, if it holds one.
    pub(crate) of: Option<String>,
    /// Whether it is one of several of which a message has one.
    pub(crate) is_choice: bool,
    pub(crate) schema: Value,
}

impl Message {
    /// Its fields' schemas by name.
    pub(crate) fn properties(&self) -> Map<String, Value> {
        self.fields.iter().map(|field| (field.name.clone(), field.schema.clone())).collect()
    }

    /// Its schema: a field that is not known is refused.
    pub(crate) fn schema(&self) -> Value {
        let mut schema = json!({"type": "object", "properties": self.properties(), "additionalProperties": false});
        describe(&mut schema, self.description.as_deref());
        schema
    }
}

/// A message from its descriptor.
pub(crate) fn read(message: &DescriptorProto, index: usize, comments: &Comments) -> anyhow::Result<Message> {
    let mut fields = Vec::new();
    for (place, field) in message.field.iter().enumerate() {
        let (schema, of) = schema(field, message).with_context(|| format!("{}.{}", message.name(), field.name()))?;
        let mut schema = schema;
        describe(&mut schema, comments.field(index, place).as_deref());
        let is_choice = field.oneof_index.is_some();
        fields.push(Field { name: field.name().to_owned(), of, is_choice, schema });
    }
    Ok(Message { name: message.name().to_owned(), description: comments.message(index), fields })
}

fn describe(schema: &mut Value, description: Option<&str>) {
    if let Some(description) = description {
        schema["description"] = json!(description);
    }
}

/// The schema of a field's value, and the message that it holds.
fn schema(field: &FieldDescriptorProto, message: &DescriptorProto) -> anyhow::Result<(Value, Option<String>)> {
    let repeated = field.label() == Label::Repeated;
    let one = match field.r#type() {
        Type::String => json!({"type": "string"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Double => json!({"type": "number"}),
        Type::Int64 => json!({"type": "integer"}),
        Type::Uint32 | Type::Uint64 => json!({"type": "integer", "minimum": 0}),
        Type::Message => {
            let name = field.type_name().trim_start_matches('.');
            let nested = message.nested_type.iter().find(|nested| name.ends_with(&format!(".{}", nested.name())));
            if let Some(entry) = nested.filter(|nested| nested.options.as_ref().is_some_and(MessageOptions::map_entry))
            {
                let value = entry.field.get(1).context("a map without values")?;
                return Ok((json!({"type": "object", "additionalProperties": schema(value, entry)?.0}), None));
            }
            let name = name.strip_prefix(&format!("{PACKAGE}.")).context("a message of another package")?;
            let of = json!({"$ref": format!("#/$defs/{name}")});
            let value = if repeated { list(&of) } else { json!({"anyOf": [of, {"type": "null"}]}) };
            return Ok((value, Some(name.to_owned())));
        }
        other => bail!("has the type {other:?}, of whose JSON form nothing is known here"),
    };
    Ok((if repeated { list(&one) } else { one }, None))
}

fn list(of: &Value) -> Value {
    json!({"type": "array", "items": of})
}
