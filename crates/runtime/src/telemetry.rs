//! Sets up logs and traces, and carries a trace from one process to the next.
//!
//! Without an OTLP endpoint nothing is traced across processes and spans cost next to nothing.

use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde::Deserialize;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::fmt::{MakeWriter, layer as fmt_layer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::ConfigError;

/// The section `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// What to log: a level, or directives such as `info,resolver=debug`. `RUST_LOG` wins over it.
    pub level: String,
    /// How log lines look.
    pub format: Format,
    /// Where traces go: the base URL of an OTLP receiver that speaks HTTP, such as `http://localhost:4318`. Empty: nowhere.
    pub otlp_endpoint: String,
    /// The share of traces that are kept, from 0.0 to 1.0, where nobody upstream decided.
    pub trace_ratio: f64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: Format::Text, otlp_endpoint: String::new(), trace_ratio: 1.0 }
    }
}

impl TelemetryConfig {
    /// Refuses what cannot be started with.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.filter()?;
        if !(0.0..=1.0).contains(&self.trace_ratio) {
            return Err(ConfigError::new("telemetry.trace_ratio", "must be from 0.0 to 1.0"));
        }
        match self.otlp_endpoint.trim() {
            "" => Ok(()),
            endpoint if endpoint.starts_with("http://") || endpoint.starts_with("https://") => Ok(()),
            _ => Err(ConfigError::new("telemetry.otlp_endpoint", "must start with http:// or https://")),
        }
    }

    fn filter(&self) -> Result<EnvFilter, ConfigError> {
        let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty());
        EnvFilter::try_new(wanted.as_deref().unwrap_or(&self.level)).map_err(|error| {
            let key = if wanted.is_some() { "RUST_LOG" } else { "telemetry.level" };
            ConfigError::new(key, format!("is not a log filter: {error}"))
        })
    }
}

/// Sends what is still held when it is dropped. Keep it until the process ends.
#[must_use = "dropping it at once ends tracing"]
pub struct Guard(Option<SdkTracerProvider>);

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard {{ tracing: {} }}", self.0.is_some())
    }
}

/// How long one export may take, and how long the last one may hold the process up.
const EXPORT: Duration = Duration::from_secs(5);

/// Starts logging, to stderr, and tracing. Later calls in the same process change nothing.
pub fn init(config: &TelemetryConfig, service: &str) -> Result<Guard, ConfigError> {
    crate::install_crypto();
    config.check()?;
    let filter = config.filter()?;
    let provider = match config.otlp_endpoint.trim() {
        "" => None,
        endpoint => Some(provider(endpoint, config.trace_ratio, service)?),
    };
    // Colours are for eyes: in a file they are noise.
    let lines = lines(config.format, std::io::stderr, std::io::stderr().is_terminal()).with_filter(filter);
    let traces = provider.as_ref().map(|provider| {
        // Our own spans only: those of libraries would double the cost and say little.
        let ours = EnvFilter::new("info,hyper=off,h2=off,reqwest=off,opentelemetry=off,async_nats=off,sqlx=off");
        tracing_opentelemetry::layer().with_tracer(provider.tracer("lockstep")).with_filter(ours)
    });
    // An error means that a subscriber is there already: a second service in one process, or another test.
    let _ = tracing_subscriber::registry().with(lines).with(traces).try_init();
    Ok(Guard(provider))
}

/// Log lines of this look.
fn lines<W>(format: Format, writer: W, colours: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt_layer().with_writer(writer);
    match format {
        Format::Text => lines.with_ansi(colours).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    }
}

fn provider(endpoint: &str, ratio: f64, service: &str) -> Result<SdkTracerProvider, ConfigError> {
    let wrong = |why: String| ConfigError::new("telemetry.otlp_endpoint", why);
    let address = match endpoint.trim_end_matches('/') {
        whole if whole.ends_with("/v1/traces") => whole.to_owned(),
        base => format!("{base}/v1/traces"),
    };
    // The exporter's client is a blocking one, which must not be made on a thread of the asynchronous runtime.
    let exporter = std::thread::spawn(move || {
        SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(address)
            .with_timeout(EXPORT)
            .build()
    });
    let exporter = exporter
        .join()
        .map_err(|_| wrong("the exporter could not be made".into()))?
        .map_err(|error| wrong(error.to_string()))?;
    let resource = Resource::builder()
        .with_service_name(format!("lockstep-{service}"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .with_resource(resource)
        .build())
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(provider) = self.0.take() else { return };
        // On a thread of its own for the same reason for which the exporter was made on one.
        let ended = std::thread::spawn(move || provider.shutdown_with_timeout(EXPORT));
        if !matches!(ended.join(), Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

/// Gives the current span's trace context to `put`, header by header. Gives nothing when there is no trace.
pub fn inject(put: &mut dyn FnMut(&str, String)) {
    struct Headers<'a>(&'a mut dyn FnMut(&str, String));
    impl opentelemetry::propagation::Injector for Headers<'_> {
        fn set(&mut self, key: &str, value: String) {
            if !value.is_empty() {
                (self.0)(key, value);
            }
        }
    }
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Headers(put));
}

/// Makes `span` a child of the span that the headers name. Headers that name none, or nonsense, change nothing.
pub fn extract(get: &dyn Fn(&str) -> Option<String>, span: &Span) {
    let names = ["traceparent", "tracestate"];
    let headers: HashMap<String, String> =
        names.iter().filter_map(|name| Some(((*name).to_owned(), get(name)?))).collect();
    if headers.is_empty() {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&headers);
    if parent.span().span_context().is_valid() {
        // Refused only where nothing is traced, or the span has begun: then it stays as it is.
        let _ = span.set_parent(parent);
    }
}

#[cfg(test)]
mod tests;
