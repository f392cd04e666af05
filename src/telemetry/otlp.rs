//! Spans to an OpenTelemetry collector, over OTLP/HTTP, from a thread of its own.
//!
//! Nothing waits for the collector: one that is down costs spans, never an event. (The host ends us
//! with SIGKILL, so the last five seconds of spans end with us.)

use tracing::{Span, Subscriber};
use tracing_subscriber::Layer;

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// A layer that exports to the collector at `base`.
#[cfg(feature = "otlp")]
pub(super) fn layer<S>(base: &str) -> Result<BoxedLayer<S>, String>
where
    S: Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span> + Send + Sync,
{
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig};
    use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};

    let endpoint = format!("{}/v1/traces", base.trim().trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build();
    // Its own text may hold the address.
    let exporter = exporter.map_err(|_| "the exporter cannot be made".to_owned())?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("annals").build())
        .build();
    let tracer = provider.tracer("annals");
    // The provider lives as long as the process: dropped, it would stop exporting.
    opentelemetry::global::set_tracer_provider(provider);
    Ok(tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false).boxed())
}

/// This build exports nothing.
#[cfg(not(feature = "otlp"))]
pub(super) fn layer<S: Subscriber>(_: &str) -> Result<BoxedLayer<S>, String> {
    Err("this build was made without the feature `otlp`".to_owned())
}

/// Makes a remote span the parent of this one.
#[cfg(feature = "otlp")]
pub(super) fn adopt(span: &Span, traceparent: &str) {
    use std::collections::HashMap;

    use opentelemetry::propagation::TextMapPropagator;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    // It fails where spans are not exported: then nobody asks.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

/// This build exports nothing.
#[cfg(not(feature = "otlp"))]
pub(super) fn adopt(_: &Span, _: &str) {}
