//! What the comments of a `.proto` file say about its messages and fields.

use std::collections::HashMap;

use prost_types::FileDescriptorProto;

/// The field of a file descriptor that holds messages, and of a message descriptor that holds fields: a comment's place is the
/// path to what it is about.
const MESSAGES: i32 = 4;
const FIELDS: i32 = 2;

/// The comments of one file.
pub(crate) struct Comments(HashMap<Vec<i32>, String>);

impl Comments {
    /// Those of a file, each as one line.
    pub(crate) fn of(file: &FileDescriptorProto) -> Self {
        let places = file.source_code_info.iter().flat_map(|info| &info.location);
        let said = places.filter_map(|place| {
            let text = place.leading_comments().split_whitespace().collect::<Vec<_>>().join(" ");
            (!text.is_empty()).then(|| (place.path.clone(), text))
        });
        Self(said.collect())
    }

    /// What stands above a message.
    pub(crate) fn message(&self, index: usize) -> Option<String> {
        self.0.get(&vec![MESSAGES, number(index)]).cloned()
    }

    /// What stands above a field.
    pub(crate) fn field(&self, message: usize, index: usize) -> Option<String> {
        self.0.get(&vec![MESSAGES, number(message), FIELDS, number(index)]).cloned()
    }
}

fn number(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}
