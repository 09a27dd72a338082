//! What a step does, in words for a person.

/// How many characters of what is worked on a sentence has at most.
const LONGEST: usize = 200;

/// The sentences of a step: while it executes, when it is completed, and when it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// While it executes.
    pub executing: String,
    /// When it is completed.
    pub completed: String,
    /// When it failed; why is said beside it.
    pub failed: String,
}

impl Description {
    /// Sentences of one's own.
    pub fn new(executing: impl Into<String>, completed: impl Into<String>, failed: impl Into<String>) -> Self {
        Self { executing: executing.into(), completed: completed.into(), failed: failed.into() }
    }

    /// A question that is worked on.
    pub fn query(query: &str) -> Self {
        let query = short(query);
        Self::new(
            format!("Working on the query: {query}"),
            format!("Answered the query: {query}"),
            format!("Could not answer the query: {query}"),
        )
    }

    /// A call of a language model.
    pub fn model_call(model: &str) -> Self {
        let model = short(model);
        Self::new(
            format!("Asking the model {model}"),
            format!("The model {model} answered"),
            format!("The model {model} did not answer"),
        )
    }

    /// A tool that is used.
    pub fn tool(tool: &str) -> Self {
        let tool = short(tool);
        Self::new(format!("Using the tool {tool}"), format!("Used the tool {tool}"), format!("The tool {tool} failed"))
    }

    /// A search on the web.
    pub fn web_search(words: &str) -> Self {
        let words = short(words);
        Self::new(
            format!("Searching the web for: {words}"),
            format!("Searched the web for: {words}"),
            format!("Could not search the web for: {words}"),
        )
    }

    /// A call of an API.
    pub fn api_call(call: &str) -> Self {
        let call = short(call);
        Self::new(format!("Calling {call}"), format!("Called {call}"), format!("The call of {call} failed"))
    }

    /// Something that is looked up in a database.
    pub fn database_lookup(what: &str) -> Self {
        let what = short(what);
        Self::new(
            format!("Looking up {what} in the database"),
            format!("Looked up {what} in the database"),
            format!("Could not look up {what} in the database"),
        )
    }
}

/// One line of at most 200 characters.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// One sentence for all.
impl From<&str> for Description {
    fn from(sentence: &str) -> Self {
        Self::new(sentence, sentence, sentence)
    }
}

/// One sentence for all.
impl From<String> for Description {
    fn from(sentence: String) -> Self {
        Self::from(sentence.as_str())
    }
}

#[cfg(test)]
mod tests;
