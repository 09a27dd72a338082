//! A Linear sandbox and a plain GraphQL client of it.

use reqwest::{Response, header::HeaderMap};
use sandbox::linear::{LinearOptions, LinearSandbox, start};
use serde_json::{Value, json};

pub const KEY: &str = "lin_api_sandbox";
pub const TOKEN: &str = "Bearer lin_oauth_sandbox";

pub struct Api {
    pub sandbox: LinearSandbox,
    pub http: reqwest::Client,
}

/// What the API answered.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.json().await.unwrap() }
    }

    pub fn number(&self, header: &str) -> i64 {
        self.headers[header].to_str().unwrap().parse().unwrap()
    }

    pub fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"].as_str().unwrap()
    }
}

impl Api {
    pub async fn start() -> Self {
        Self::with(LinearOptions::default()).await
    }

    pub async fn with(options: LinearOptions) -> Self {
        Self { sandbox: start(options).await.unwrap(), http: reqwest::Client::new() }
    }

    pub async fn send(&self, authorization: &str, query: &str, variables: Value) -> Answer {
        let request = self.http.post(self.sandbox.graphql_url()).header("authorization", authorization);
        Answer::of(request.json(&json!({"query": query, "variables": variables})).send().await.unwrap()).await
    }

    /// The data of a request that must go well.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let answer = self.send(TOKEN, query, variables).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.get("errors").is_none(), "{}", answer.body);
        answer.body["data"].clone()
    }

    /// Moves an issue through the API.
    pub async fn update(&self, id: &str, input: Value) -> Value {
        let query = "mutation($id: String!, $input: IssueUpdateInput!) { issueUpdate(id: $id, input: $input) \
            { success issue { identifier updatedAt startedAt completedAt canceledAt state { name } labels { nodes { name } } } } }";
        let data = self.data(query, json!({"id": id, "input": input})).await;
        assert_eq!(data["issueUpdate"]["success"], true);
        data["issueUpdate"]["issue"].clone()
    }

    /// The id of a state by team and name.
    pub async fn state(&self, team: &str, name: &str) -> String {
        let query = "query($filter: WorkflowStateFilter) { workflowStates(filter: $filter) { nodes { id } } }";
        let filter = json!({"team": {"key": {"eq": team}}, "name": {"eq": name}});
        let data = self.data(query, json!({"filter": filter})).await;
        data["workflowStates"]["nodes"][0]["id"].as_str().unwrap().to_owned()
    }

    /// The identifiers of the issues a filter finds, sorted.
    pub async fn found(&self, filter: Value) -> Vec<String> {
        let query = "query($filter: IssueFilter) { issues(filter: $filter) { nodes { identifier } } }";
        let data = self.data(query, json!({"filter": filter})).await;
        let mut found = texts(&data["issues"]["nodes"], "identifier");
        found.sort();
        found
    }

    pub async fn put(&self, path: &str, body: Value) {
        let response = self.http.put(format!("{}{path}", self.sandbox.url())).json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{path} answered {}", response.status());
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.http.post(format!("{}{path}", self.sandbox.url())).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn get(&self, path: &str) -> Value {
        self.http.get(format!("{}{path}", self.sandbox.url())).send().await.unwrap().json().await.unwrap()
    }
}

pub fn texts(nodes: &Value, field: &str) -> Vec<String> {
    nodes.as_array().unwrap().iter().map(|node| node[field].as_str().unwrap().to_owned()).collect()
}
